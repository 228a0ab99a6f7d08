use figment::Jail;
use likeness_engine::pins::{LakeConfig, StreamConfig};

use super::*;

fn load(file: Option<&str>, flags: &Overrides) -> Result<Config, String> {
    Config::load(file.map(Path::new), flags).map_err(|error| format!("{error:#}"))
}

#[test]
fn the_built_in_configuration_says_what_the_crates_default_to() {
    Jail::expect_with(|_| {
        let config = load(None, &Overrides::default())?;
        assert_eq!(config.decode_limits(), DecodeLimits::default());
        let wanted = format!("{:?}", DedupConfig::default());
        assert_eq!(format!("{:?}", config.dedup_config()), wanted);
        assert_eq!(config.pins.config(), StreamConfig::default());
        assert_eq!(config.pins.lake.config(), LakeConfig::default());
        let wanted = format!("{:?}", ServerConfig::default());
        assert_eq!(format!("{:?}", config.server), wanted);
        Ok(())
    });
}

#[test]
fn each_layer_wins_over_the_one_below() {
    Jail::expect_with(|jail| {
        jail.create_file(
            "l.toml",
            "[models]\nqueue = 7\nmax_batch = 7\n[dedup]\nthreshold = 0.7\n",
        )?;
        jail.set_env("LIKENESS__MODELS__MAX_BATCH", "8");
        jail.set_env("LIKENESS__DEDUP__THRESHOLD", "0.8");
        jail.set_env("LIKENESS__DEDUP__DECISION_TIMEOUT", "200ms");
        jail.set_env(
            "LIKENESS__DEDUP__JOIN__KINDS",
            "[{name=\"copy\", model=\"m 1\", dimension=8}]",
        );
        let mut flags = Overrides::default();
        flags.set("dedup.threshold", Some(0.9));
        flags.set("dedup.scorer", None::<String>);
        let config = load(Some("l.toml"), &flags)?;
        assert_eq!(config.models.threads, 0, "built-in");
        assert_eq!(config.models.queue, 7, "file over built-in");
        assert_eq!(config.models.max_batch, 8, "environment over file");
        assert_eq!(config.dedup.threshold, 0.9, "flags over environment");
        assert_eq!(config.dedup.decision_timeout.0, Duration::from_millis(200));
        assert_eq!(config.dedup.join.kinds[0].model, "m 1");
        Ok(())
    });
}

#[test]
fn a_typo_is_an_error_that_names_the_key() {
    Jail::expect_with(|jail| {
        jail.create_file("l.toml", "[stores]\nblock_cash = 1\n")?;
        let error = load(Some("l.toml"), &Overrides::default()).unwrap_err();
        assert!(
            error.contains("block_cash") && error.contains("l.toml"),
            "{error}"
        );
        jail.set_env("LIKENESS__DEDUP__TRESHOLD", "0.5");
        let error = load(None, &Overrides::default()).unwrap_err();
        assert!(error.contains("treshold"), "{error}");
        Ok(())
    });
}

#[track_caller]
fn check_refused(text: &str, wanted: &str) {
    Jail::expect_with(|jail| {
        jail.create_file("l.toml", text)?;
        let error = load(Some("l.toml"), &Overrides::default()).unwrap_err();
        assert!(error.contains(wanted), "{error}");
        Ok(())
    });
}

#[test]
fn values_out_of_range_are_refused() {
    check_refused("version = 2", "this build reads 1");
    check_refused("[dedup]\nthreshold = 1.5", "dedup.threshold");
    check_refused("[models]\nmax_batch = 0", "models.max_batch");
    check_refused("[limits]\nmax_bytes = \"64 MeB\"", "is not a size");
    check_refused("[limits]\nmax_time = \"soon\"", "is not a duration");
    check_refused("[limits]\nmax_bytes = \"1 GiB\"", "max_bytes_in_flight");
    check_refused("[dedup]\nscorer = \"oip:http://h/m\"", "dedup.threshold");
    check_refused("[dedup.join]\nprimary = \"copy\"", "names `copy`");
    check_refused("[pins]\ntables = \"mysql://h\"", "pins.tables");
    check_refused("[pins]\nhalf_life = \"10ms\"", "pins.half_life");
    check_refused("[pins]\nmax_batch_records = 0", "pins.max_batch_records");
    check_refused("[pins.lake]\nflush_every = \"2h\"", "pins.lake.flush_every");
    check_refused("[pins.lake]\nmax_records = 0", "pins.lake.max_records");
    check_refused("[pins.lake]\nmerge_files = 1", "pins.lake.merge_files");
    check_refused("[pins.lake]\nmax_file_rows = 1", "pins.lake.max_file_rows");
    check_refused("[pins.lake]\nkeep = \"1min\"", "pins.lake.keep");
    check_refused(
        "[jobs.pins-daily]\nattempts = 0",
        "jobs.pins-daily.attempts",
    );
    check_refused("[sql]\nmemory = \"1 MiB\"", "sql.memory");
    check_refused("[sql]\ntimeout = \"0s\"", "sql.timeout");
    check_refused("[sql]\nmax_queries = 0", "sql.max_queries");
    check_refused("[sql]\nthreads = 100000", "sql.threads");
    check_refused(
        "[jobs.recluster-plan]\nschedule = \"daily\"",
        "jobs.recluster-plan.schedule",
    );
    check_refused(
        "[jobs.recluster-plan]\nattempts = 0",
        "jobs.recluster-plan.attempts",
    );
    check_refused("[dedup.join]\nkinds = [{name = \"a\"}]", "model");
}

#[test]
fn addresses_that_others_reach_need_keys() {
    check_refused("[server]\nbind = \"0.0.0.0:7878\"", "without keys");
}

#[test]
fn what_is_printed_reads_back_the_same() {
    Jail::expect_with(|jail| {
        jail.set_env("LIKENESS__DEDUP__THRESHOLD", "0.75");
        let dict = Config::effective(None, &Overrides::default()).unwrap();
        jail.create_file("printed.toml", &to_toml(&dict).unwrap())?;
        let direct = load(None, &Overrides::default())?;
        jail.set_env("LIKENESS__DEDUP__THRESHOLD", "0.75");
        let printed = load(Some("printed.toml"), &Overrides::default())?;
        assert_eq!(format!("{printed:?}"), format!("{direct:?}"));
        Ok(())
    });
}
