//! The command line: one file per command.

mod bank;
mod bench;
mod clusters;
mod completions;
mod config;
mod correct;
mod dedup;
mod delete;
mod demo;
mod embeddings;
mod emulate;
mod eval;
mod explain;
mod features;
mod flood;
mod image;
mod index;
mod ingest;
pub(crate) mod jobs;
mod matching;
mod models;
pub(crate) mod orphans;
mod pins;
mod recluster;
mod review;
mod samples;
mod scorer;
mod serve;
mod sql;
mod status;
mod tail;
mod train;

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};
use tokio_util::sync::CancellationToken;

use crate::config::{Config, LogFormat, Overrides};
use crate::error::EXIT_CODES;
use crate::logging::{self, Talk};
use crate::output::Output;
use crate::shutdown;

/// Tells an image-sharing service what its images are: near-duplicate clusters, and why.
///
/// Images go in by `ingest` or over HTTP; each is compared with all before it and joins the cluster
/// of the picture it is a copy of, or becomes the head of a new one. Everything is kept in one data
/// directory. Commands talk to the server that has it open, or open it themselves.
#[derive(Debug, Parser)]
#[command(
    name = "likeness",
    version,
    arg_required_else_help = true,
    after_help = EXIT_CODES,
    max_term_width = 100
)]
pub(crate) struct Cli {
    #[command(flatten)]
    global: GlobalArgs,
    #[command(subcommand)]
    command: Command,
}

/// Flags of every command.
#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
struct GlobalArgs {
    /// Where everything is kept [default: $XDG_DATA_HOME/likeness or ~/.local/share/likeness]
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        env = "LIKENESS_DATA_DIR",
        hide_env = true
    )]
    data_dir: Option<PathBuf>,
    /// Where models are kept [default: `models` in the data directory]
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        env = "LIKENESS_MODELS",
        hide_env = true
    )]
    models_dir: Option<PathBuf>,
    /// Configuration file, TOML; `likeness config --defaults` prints the reference
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "LIKENESS_CONFIG",
        hide_env = true
    )]
    config: Option<PathBuf>,
    /// Talk to this server instead of opening the data directory
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "LIKENESS_SERVER",
        hide_env = true
    )]
    server: Option<String>,
    /// Key for the server
    #[arg(
        long,
        global = true,
        value_name = "KEY",
        env = "LIKENESS_KEY",
        hide_env = true,
        hide_env_values = true
    )]
    key: Option<String>,
    /// Print JSON, and nothing else, to stdout
    #[arg(long, global = true)]
    json: bool,
    /// Log more (twice for even more)
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
    /// Log less
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    quiet: u8,
    /// Form of log lines on stderr
    #[arg(long, global = true, value_enum, value_name = "FORMAT")]
    log_format: Option<LogFormat>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Try it: get models and sample pictures, ingest them, show the result in the browser
    Demo(demo::DemoArgs),
    /// Serve HTTP and the web pages
    Serve(serve::ServeArgs),
    /// Store images and sort them into clusters
    Ingest(ingest::IngestArgs),
    /// Show what is known of an image
    Image(image::ImageArgs),
    /// List clusters
    Clusters(clusters::ClustersArgs),
    /// Show the members of a cluster
    Cluster(clusters::ClusterArgs),
    /// Ask what a file is like, without storing it
    Match(matching::MatchArgs),
    /// Say why an image was decided as it was
    Explain(explain::ExplainArgs),
    /// Correct clusters by hand, and undo corrections
    #[command(subcommand)]
    Correct(correct::CorrectCommand),
    /// Keep sets of reference pictures that uploads are compared with
    #[command(subcommand)]
    Bank(bank::BankCommand),
    /// See alarms about clusters that grow too fast, and decide about quarantines
    #[command(subcommand)]
    Flood(flood::FloodCommand),
    /// Look at the pairs that the scorer is least sure of, and label them
    #[command(subcommand)]
    Review(review::ReviewCommand),
    /// Erase images for good, and prove that nothing is left of them
    Delete(delete::DeleteArgs),
    /// Sort all images anew, show what would change, and apply it if told to
    Recluster(recluster::ReclusterArgs),
    /// Send embeddings that another service has made
    #[command(subcommand)]
    Embeddings(embeddings::EmbeddingsCommand),
    /// List uploads and embeddings without a partner, retry and drop them
    #[command(subcommand)]
    Orphans(orphans::OrphansCommand),
    /// Show what runs by the clock, run it, and see how it went
    #[command(subcommand)]
    Jobs(jobs::JobsCommand),
    /// Post pins as a service would, to try the way in and to load it
    Emulate(emulate::EmulateArgs),
    /// Ask in SQL over pins, raw events and live numbers
    Sql(sql::SqlArgs),
    /// Answer reports over pins
    #[command(subcommand)]
    Pins(pins::PinsCommand),
    /// Follow a stream
    #[command(subcommand)]
    Tail(tail::TailCommand),
    /// Show counts, rates and models
    Status(status::StatusArgs),
    /// Find duplicates in a folder and write a report; nothing is stored
    Dedup(dedup::DedupArgs),
    /// Measure how well it works on pictures of yours
    #[command(subcommand)]
    Eval(eval::EvalCommand),
    /// Fit a scorer to pictures of yours
    #[command(subcommand)]
    Train(train::TrainCommand),
    /// Keep versions of the scorer, to compare them
    #[command(subcommand)]
    Scorer(scorer::ScorerCommand),
    /// Show what would change if another version of the scorer decided; nothing is changed
    CompareScorers(scorer::CompareArgs),
    /// Show what scorers read of a pair of pictures
    #[command(subcommand)]
    Features(features::FeaturesCommand),
    /// Measure how fast it works on this machine
    #[command(subcommand)]
    Bench(bench::BenchCommand),
    /// Plan the index: terms, bytes and time for a number of images
    #[command(subcommand)]
    Index(index::IndexCommand),
    /// Obtain and check models
    #[command(subcommand)]
    Models(models::ModelsCommand),
    /// Obtain sample pictures
    #[command(subcommand)]
    Samples(samples::SamplesCommand),
    /// Print the effective configuration
    Config(config::ConfigArgs),
    /// Print a completion script for a shell
    Completions(completions::CompletionsArgs),
    /// List the points at which `LIKENESS_KILL_AT=NAME:COUNT` kills the process
    #[cfg(feature = "failpoints")]
    #[command(hide = true)]
    Failpoints,
}

impl Command {
    fn talk(&self) -> Talk {
        match self {
            Self::Serve(_) => Talk::Running,
            _ => Talk::OneShot,
        }
    }

    /// Puts this command's flags on top of the configuration.
    fn configure(&self, overrides: &mut Overrides) {
        match self {
            Self::Dedup(args) => args.configure(overrides),
            Self::Eval(eval::EvalCommand::NearDuplicates(args)) => args.configure(overrides),
            _ => {}
        }
    }
}

/// What a command has to work with.
#[derive(Debug)]
pub(crate) struct Context {
    /// The data directory; it need not exist yet.
    pub(crate) data_dir: PathBuf,
    /// The folder of the model store.
    pub(crate) models_dir: PathBuf,
    /// A server to talk to, if one was named.
    pub(crate) server: Option<String>,
    /// The key for the server, if one was given.
    pub(crate) key: Option<String>,
    pub(crate) config: Config,
    pub(crate) output: Output,
    /// Cancelled by the first Ctrl-C.
    pub(crate) stop: CancellationToken,
}

/// Runs the program.
pub(crate) fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    let global = cli.global;
    let output = Output::new(global.json);
    let mut overrides = Overrides::default();
    overrides.set("log.format", global.log_format.map(log_format_key));
    cli.command.configure(&mut overrides);
    match &cli.command {
        // These two must work whatever the configuration says.
        Command::Completions(args) => return completions::run(args, output),
        #[cfg(feature = "failpoints")]
        Command::Failpoints => {
            return output.raw(&(likeness_core::fault::POINTS.join("\n") + "\n"));
        }
        Command::Config(args) => {
            return config::run(args, global.config.as_deref(), &overrides, output);
        }
        _ => {}
    }
    let config = Config::load(global.config.as_deref(), &overrides)?;
    let verbosity = i16::from(global.verbose) - i16::from(global.quiet);
    logging::start(&config.log, verbosity, cli.command.talk())?;
    let data_dir = match global.data_dir {
        Some(data_dir) => data_dir,
        None => default_data_dir()?,
    };
    let models_dir = global
        .models_dir
        .or_else(|| (!config.models.dir.as_os_str().is_empty()).then(|| config.models.dir.clone()))
        .unwrap_or_else(|| data_dir.join("models"));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the async runtime")?;
    let outcome = runtime.block_on(async {
        let context = Context {
            data_dir,
            models_dir,
            server: global.server,
            key: global.key,
            config,
            output,
            stop: shutdown::watch_signals().context("cannot watch for signals")?,
        };
        run(cli.command, context).await
    });
    // A blocking task may still wait for a network that does not answer.
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    outcome
}

async fn run(command: Command, context: Context) -> anyhow::Result<()> {
    match command {
        Command::Demo(args) => demo::run(args, context).await,
        Command::Serve(args) => serve::run(args, context).await,
        Command::Ingest(args) => ingest::run(args, context).await,
        Command::Image(args) => image::run(args, context).await,
        Command::Clusters(args) => clusters::list(args, context).await,
        Command::Cluster(args) => clusters::show(args, context).await,
        Command::Match(args) => matching::run(args, context).await,
        Command::Explain(args) => explain::run(args, context).await,
        Command::Correct(command) => correct::run(command, context).await,
        Command::Bank(command) => bank::run(command, context).await,
        Command::Flood(command) => flood::run(command, context).await,
        Command::Review(command) => review::run(command, context).await,
        Command::Delete(args) => delete::run(args, context).await,
        Command::Recluster(args) => recluster::run(args, context).await,
        Command::Embeddings(command) => embeddings::run(command, context).await,
        Command::Orphans(command) => orphans::run(command, context).await,
        Command::Jobs(command) => jobs::run(command, context).await,
        Command::Emulate(args) => emulate::run(args, context).await,
        Command::Sql(args) => sql::run(args, context).await,
        Command::Pins(command) => pins::run(command, context).await,
        Command::Tail(command) => tail::run(command, context).await,
        Command::Status(args) => status::run(args, context).await,
        Command::Dedup(args) => dedup::run(args, context).await,
        Command::Eval(command) => eval::run(command, context).await,
        Command::Train(command) => train::run(command, context).await,
        Command::Scorer(command) => scorer::run(command, context).await,
        Command::CompareScorers(args) => scorer::compare(args, context).await,
        Command::Features(command) => features::run(command, &context),
        Command::Bench(command) => bench::run(command, context).await,
        Command::Index(command) => index::run(command, context).await,
        Command::Models(command) => models::run(command, context).await,
        Command::Samples(command) => samples::run(command, context).await,
        Command::Config(_) | Command::Completions(_) => unreachable!("answered before"),
        #[cfg(feature = "failpoints")]
        Command::Failpoints => unreachable!("answered before"),
    }
}

fn log_format_key(format: LogFormat) -> &'static str {
    match format {
        LogFormat::Text => "text",
        LogFormat::Json => "json",
    }
}

/// Returns the data directory of the XDG base directory specification.
fn default_data_dir() -> anyhow::Result<PathBuf> {
    let absolute = |name: &str| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    absolute("XDG_DATA_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".local/share")))
        .map(|base| base.join("likeness"))
        .context("no home directory; say where to keep data with `--data-dir`")
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}
