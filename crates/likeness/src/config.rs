//! The effective configuration: built-in `default.toml` < file < environment < flags.
//!
//! Every section is plain data, owned by the crate that it configures where that crate reads
//! configuration itself. [`crate::wire`] turns the others into what the crates take. There is no
//! global configuration.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use figment::Figment;
use figment::providers::{Env, Format, Toml};
use figment::value::{Dict, Value};
use likeness_engine::dedup::compare::ViewsMode;
use likeness_engine::dedup::keeper::Keeper;
use likeness_engine::dedup::{
    BankLimits, DedupConfig, EmbeddingKind, FloodConfig, IndexScheme, JoinConfig, Planes,
    ReviewConfig,
};
use likeness_server::ServerConfig;
use likeness_vision::DecodeLimits;
use serde::{Deserialize, Serialize};

use crate::error::Refusal;
use crate::jobs_section::JobsSection;
use crate::pins_section::{self, PinsSection};
use crate::scorer_model::ScorerModelSection;
use crate::sql_section::SqlSection;
use crate::units::{ByteSize, Period};

/// The built-in configuration, as text with comments.
pub(crate) const DEFAULTS: &str = include_str!("../default.toml");

/// Prefix of environment variables that set keys; `__` separates section and key.
const ENV_PREFIX: &str = "LIKENESS__";

/// The whole configuration. See `default.toml` for what each key means.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    pub(crate) version: u32,
    pub(crate) models: ModelsConfig,
    pub(crate) limits: LimitsConfig,
    pub(crate) stores: StoresConfig,
    pub(crate) server: ServerConfig,
    pub(crate) dedup: DedupSection,
    pub(crate) banks: BanksSection,
    pub(crate) flood: FloodSection,
    pub(crate) pins: PinsSection,
    pub(crate) sql: SqlSection,
    pub(crate) jobs: JobsSection,
    pub(crate) log: LogConfig,
}

/// Shortest window in which a flood is counted.
const MIN_FLOOD_WINDOW: Duration = Duration::from_secs(1);
/// Most banks that can be configured: all of them are listed at once.
const MAX_BANKS: u64 = 100;
/// Most references of a bank that can be configured: they are held in memory, and deleted in one commit.
const MAX_REFERENCES: u64 = 100_000;

/// Which models, and how they run.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ModelsConfig {
    pub(crate) dir: PathBuf,
    pub(crate) embedder: String,
    pub(crate) threads: usize,
    pub(crate) max_batch: usize,
    pub(crate) queue: usize,
}

/// What one picture may cost.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LimitsConfig {
    pub(crate) max_bytes: ByteSize,
    pub(crate) max_pixels: u64,
    pub(crate) max_side: u32,
    pub(crate) max_alloc: ByteSize,
    pub(crate) max_frames: u32,
    pub(crate) max_time: Period,
}

/// The embedded stores.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StoresConfig {
    pub(crate) block_cache: ByteSize,
    pub(crate) write_buffer: ByteSize,
}

/// Near-duplicate detection.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DedupSection {
    pub(crate) threshold: f32,
    pub(crate) scorer: String,
    pub(crate) scorer_model: ScorerModelSection,
    pub(crate) cpu_threads: usize,
    pub(crate) stage_concurrency: usize,
    pub(crate) max_commit: usize,
    pub(crate) max_candidates: usize,
    pub(crate) index_scheme: SchemeName,
    pub(crate) index_terms: usize,
    pub(crate) index_bits: usize,
    pub(crate) index_max_list: usize,
    pub(crate) index_probes: usize,
    pub(crate) index_epsilon: f32,
    pub(crate) audit_every: u64,
    pub(crate) wanted_recall: f64,
    pub(crate) max_probes: usize,
    pub(crate) exact_below: u64,
    pub(crate) views: ViewsMode,
    pub(crate) join: JoinSection,
    pub(crate) max_looks: usize,
    pub(crate) keeper: Keeper,
    pub(crate) max_pending: u64,
    pub(crate) max_bytes_in_flight: ByteSize,
    pub(crate) decision_timeout: Period,
    pub(crate) review: ReviewSection,
}

/// What the terms of the index are made of.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum SchemeName {
    Cells,
    Hyperplanes,
}

impl DedupSection {
    fn index_scheme(&self) -> IndexScheme {
        match self.index_scheme {
            SchemeName::Cells => IndexScheme::Cells,
            SchemeName::Hyperplanes => IndexScheme::Hyperplanes(Planes {
                terms: self.index_terms,
                bits: self.index_bits,
                max_list: self.index_max_list,
            }),
        }
    }
}

/// Pairs for people to look at.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReviewSection {
    pub(crate) low: f32,
    pub(crate) high: f32,
    pub(crate) max_open: u64,
}

/// Bounds on banks.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct BanksSection {
    pub(crate) max_banks: u64,
    pub(crate) max_references: u64,
}

/// What is a flood.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FloodSection {
    pub(crate) window: Period,
    pub(crate) growth_alarm: u64,
    pub(crate) quarantine_after: u64,
    pub(crate) max_cluster: u64,
}

/// Embeddings from elsewhere.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct JoinSection {
    pub(crate) kinds: Vec<KindEntry>,
    pub(crate) primary: String,
    pub(crate) required: Vec<String>,
    pub(crate) lateness: Period,
    pub(crate) max_unjoined: u64,
}

/// A kind of embedding.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct KindEntry {
    pub(crate) name: String,
    pub(crate) model: String,
    pub(crate) dimension: usize,
}

impl JoinSection {
    /// Returns what the engine takes.
    pub(crate) fn config(&self) -> JoinConfig {
        JoinConfig {
            kinds: self
                .kinds
                .iter()
                .map(|kind| EmbeddingKind {
                    name: kind.name.clone(),
                    model: kind.model.clone(),
                    dimension: kind.dimension,
                })
                .collect(),
            primary: Some(self.primary.clone()).filter(|name| !name.is_empty()),
            required: self.required.clone(),
            lateness: self.lateness.0,
            max_unjoined: self.max_unjoined,
        }
    }
}

/// Logs on stderr.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LogConfig {
    pub(crate) level: String,
    pub(crate) format: LogFormat,
}

/// Shape of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    /// One readable line per event
    Text,
    /// One JSON object per event
    Json,
}

/// What flags say: the topmost layer, as `section.key` and value.
#[derive(Debug, Clone, Default)]
pub(crate) struct Overrides(Vec<(&'static str, Value)>);

impl Overrides {
    /// Sets `key` if the flag was given.
    pub(crate) fn set(&mut self, key: &'static str, value: Option<impl Into<Value>>) {
        self.0.extend(value.map(|value| (key, value.into())));
    }
}

/// Lays the layers over each other.
fn layers(file: Option<&Path>, flags: &Overrides) -> anyhow::Result<Figment> {
    let mut layers = Figment::from(Toml::string(DEFAULTS));
    if let Some(file) = file {
        if !file.is_file() {
            return Err(Refusal::Missing.because(format!(
                "configuration file `{}` does not exist",
                file.display()
            )));
        }
        layers = layers.merge(Toml::file_exact(file));
    }
    layers = layers.merge(Env::prefixed(ENV_PREFIX).split("__"));
    for (key, value) in &flags.0 {
        layers = layers.merge((*key, value.clone()));
    }
    Ok(layers)
}

fn invalid(reason: impl std::fmt::Display) -> anyhow::Error {
    Refusal::Input.because(format!("invalid configuration: {reason}"))
}

impl Config {
    /// Returns the effective configuration, checked.
    ///
    /// # Errors
    /// Names the key, what was found, and the layer it came from.
    pub(crate) fn load(file: Option<&Path>, flags: &Overrides) -> anyhow::Result<Self> {
        let config: Self = layers(file, flags)?.extract().map_err(invalid)?;
        config.validate().map_err(invalid)?;
        Ok(config)
    }

    /// Returns the effective configuration as TOML. Keys of callers are in it as digests only, and the address of a
    /// database without its password.
    pub(crate) fn effective(file: Option<&Path>, flags: &Overrides) -> anyhow::Result<Dict> {
        Self::load(file, flags)?;
        let mut effective: Dict = layers(file, flags)?.extract().map_err(invalid)?;
        pins_section::hide_password(&mut effective);
        Ok(effective)
    }

    fn validate(&self) -> Result<(), String> {
        if self.version != 1 {
            let found = self.version;
            return Err(format!("`version` is {found}, this build reads 1"));
        }
        let threshold = self.dedup.threshold;
        if !(0.0..=1.0).contains(&threshold) {
            return Err(format!(
                "`dedup.threshold` must lie in 0..=1, got `{threshold}`"
            ));
        }
        let ReviewSection { low, high, .. } = self.dedup.review;
        let is_range = (0.0..=1.0).contains(&low) && (0.0..=1.0).contains(&high);
        if !is_range || (high > 0.0 && low > high) {
            return Err(format!(
                "`dedup.review.low` and `dedup.review.high` must lie in 0..=1, the lower one first, got `{low}` and `{high}`"
            ));
        }
        let epsilon = self.dedup.index_epsilon;
        if !(0.0..=10.0).contains(&epsilon) {
            return Err(format!(
                "`dedup.index_epsilon` must lie in 0..=10, got `{epsilon}`"
            ));
        }
        let wanted = self.dedup.wanted_recall;
        if !(0.0..=1.0).contains(&wanted) {
            return Err(format!(
                "`dedup.wanted_recall` must lie in 0..=1, got `{wanted}`"
            ));
        }
        if self.models.embedder.is_empty() {
            return Err("`models.embedder` must name a model".to_owned());
        }
        for (name, is_zero) in [
            ("models.max_batch", self.models.max_batch == 0),
            ("models.queue", self.models.queue == 0),
            ("dedup.max_commit", self.dedup.max_commit == 0),
            ("dedup.max_candidates", self.dedup.max_candidates == 0),
            ("dedup.exact_below", self.dedup.exact_below == 0),
            ("dedup.max_pending", self.dedup.max_pending == 0),
        ] {
            if is_zero {
                return Err(format!("`{name}` must be at least 1"));
            }
        }
        self.dedup.index_scheme().check()?;
        if self.flood.window.0 < MIN_FLOOD_WINDOW {
            return Err("`flood.window` must be at least 1s".to_owned());
        }
        let max_references = self.banks.max_references;
        if self.banks.max_banks > MAX_BANKS || max_references > MAX_REFERENCES {
            return Err(format!(
                "`banks.max_banks` must be at most {MAX_BANKS} and `banks.max_references` at most {MAX_REFERENCES}"
            ));
        }
        self.pins.check()?;
        self.sql.check()?;
        self.jobs.check()?;
        let remote = &self.dedup.scorer_model;
        remote.check(&self.dedup.scorer, threshold)?;
        self.dedup
            .join
            .config()
            .check(self.dedup.views)
            .map_err(|reason| format!("`dedup.join`: {reason}"))?;
        // An upload larger than what may be in flight could never be admitted.
        if self.dedup.max_bytes_in_flight < self.limits.max_bytes {
            return Err(format!(
                "`dedup.max_bytes_in_flight` ({}) must not be under `limits.max_bytes` ({})",
                self.dedup.max_bytes_in_flight, self.limits.max_bytes
            ));
        }
        self.server.validate().map_err(|error| error.to_string())
    }

    /// Returns what the engine takes.
    pub(crate) fn dedup_config(&self) -> DedupConfig {
        let section = &self.dedup;
        let defaults = DedupConfig::default();
        let cpu_threads = or_default(section.cpu_threads, defaults.cpu_threads);
        let index_scheme = section.index_scheme();
        DedupConfig {
            limits: self.decode_limits(),
            cpu_threads,
            stage_concurrency: or_default(section.stage_concurrency, 4 * cpu_threads),
            max_commit: section.max_commit,
            max_candidates: section.max_candidates,
            index_scheme,
            index_probes: or_default(section.index_probes, index_scheme.default_probes()),
            index_epsilon: section.index_epsilon,
            audit_every: section.audit_every,
            wanted_recall: section.wanted_recall,
            max_probes: section.max_probes,
            exact_below: section.exact_below,
            views: section.views,
            join: section.join.config(),
            max_looks: section.max_looks,
            keeper: section.keeper,
            max_pending: section.max_pending,
            max_bytes_in_flight: section.max_bytes_in_flight.0,
            threshold: (section.threshold > 0.0).then_some(section.threshold),
            decision_timeout: section.decision_timeout.0,
            banks: BankLimits {
                max_banks: self.banks.max_banks,
                max_references: self.banks.max_references,
            },
            flood: FloodConfig {
                window: self.flood.window.0,
                growth_alarm: self.flood.growth_alarm,
                quarantine_after: self.flood.quarantine_after,
                max_cluster: self.flood.max_cluster,
            },
            review: ReviewConfig {
                low: (section.review.low > 0.0).then_some(section.review.low),
                high: (section.review.high > 0.0).then_some(section.review.high),
                max_open: section.review.max_open,
            },
        }
    }

    /// Returns what the decoder takes.
    pub(crate) fn decode_limits(&self) -> DecodeLimits {
        let section = &self.limits;
        DecodeLimits {
            max_bytes: section.max_bytes.0,
            max_pixels: section.max_pixels,
            max_side: section.max_side,
            max_alloc_bytes: section.max_alloc.0,
            max_frames: section.max_frames,
            max_time: section.max_time.0,
        }
    }
}

/// Returns `value`, or `default` for 0.
pub(crate) fn or_default(value: usize, default: usize) -> usize {
    if value == 0 { default } else { value }
}

/// Prints a configuration as TOML.
pub(crate) fn to_toml(config: &Dict) -> anyhow::Result<String> {
    toml::to_string(config).context("cannot print the configuration")
}

#[cfg(test)]
#[expect(
    clippy::result_large_err,
    reason = "the error type of `Jail` closures is given by figment"
)]
#[path = "config_tests.rs"]
mod tests;
