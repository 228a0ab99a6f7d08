//! Embeddings from elsewhere, and orphans.

use insta::assert_snapshot;

use super::help;

#[test]
fn help_of_embeddings() {
    assert_snapshot!(help(&["embeddings"]), @r#"
    Send embeddings that another service has made

    Usage: likeness embeddings [OPTIONS] <COMMAND>

    Commands:
      push  Send embeddings that another service has made
      help  Print this message or the help of the given subcommand(s)

    Options:
      -h, --help
              Print help (see a summary with '-h')
    "#);
}

#[test]
fn help_of_embeddings_push() {
    assert_snapshot!(help(&["embeddings", "push"]), @r#"
    Send embeddings that another service has made

    Usage: likeness embeddings push [OPTIONS] <FILE>

    Arguments:
      <FILE>
              Lines of JSON, `-` for standard input, or a matrix as `.npy`, a row for each image

    Options:
          --ids <FILE>
              For a matrix: the ids of its rows, one a line

          --kind <NAME>
              For a matrix: the kind

          --model <NAME>
              For a matrix: the model

      -h, --help
              Print help (see a summary with '-h')

    A line of JSON has the fields image, kind, model, vector and, if need be, event_time_ms. The
    vector is numbers, or base64 of little-endian f32; with "encoding": "bf16", of bf16. Running it
    again sends everything again, and changes nothing. `dedup.join.kinds` of the configuration says
    what is taken.

    Examples:
      likeness embeddings push embeddings.ndjson
      likeness embeddings push vectors.npy --ids ids.txt --kind copy --model "sscd-large 2"
    "#);
}

#[test]
fn help_of_orphans() {
    assert_snapshot!(help(&["orphans"]), @r#"
    List uploads and embeddings without a partner, retry and drop them

    Usage: likeness orphans [OPTIONS] <COMMAND>

    Commands:
      list   List what has no partner: newest day first
      retry  Look again and wait anew; with `--sign`, compute here what is missing
      drop   Give up: an upload is decided as rejected, embeddings are forgotten
      help   Print this message or the help of the given subcommand(s)

    Options:
      -h, --help
              Print help (see a summary with '-h')

    Examples:
      likeness orphans list --side upload
      likeness orphans retry holiday.jpg --reason "the embedder was down"
      likeness orphans retry --day 2026-01-31 --sign --reason "its embeddings are lost"
      likeness orphans drop holiday.jpg --reason "deleted meanwhile"
    "#);
}

#[test]
fn help_of_orphans_list() {
    assert_snapshot!(help(&["orphans", "list"]), @r#"
    List what has no partner: newest day first

    Usage: likeness orphans list [OPTIONS]

    Options:
          --day <YYYY-MM-DD>
              Those of one day of event time, UTC

          --kind <NAME>
              Those that lack this kind of embedding

          --side <SIDE>
              Those of which this side is there

              Possible values:
              - upload:    Uploads without an embedding
              - embedding: Embeddings without an upload

          --limit <N>
              Most orphans to list

              [default: 20]

          --cursor <TEXT>
              Continue where an earlier list ended: the `next` that it gave

      -h, --help
              Print help (see a summary with '-h')
    "#);
}

#[test]
fn help_of_orphans_retry() {
    assert_snapshot!(help(&["orphans", "retry"]), @r#"
    Look again and wait anew; with `--sign`, compute here what is missing

    Usage: likeness orphans retry [OPTIONS] --reason <TEXT> --author <NAME> [IMAGES]...

    Arguments:
      [IMAGES]...
              Ids of the images

    Options:
          --day <YYYY-MM-DD>
              All of one day of event time, UTC

          --reason <TEXT>
              Why; kept in the journal

          --author <NAME>
              Who wants it [default: $USER]

          --sign
              Compute the missing embeddings here; their kinds must be of the model that runs here

      -h, --help
              Print help (see a summary with '-h')
    "#);
}

#[test]
fn help_of_orphans_drop() {
    assert_snapshot!(help(&["orphans", "drop"]), @r#"
    Give up: an upload is decided as rejected, embeddings are forgotten

    Usage: likeness orphans drop [OPTIONS] --reason <TEXT> --author <NAME> [IMAGES]...

    Arguments:
      [IMAGES]...
              Ids of the images

    Options:
          --day <YYYY-MM-DD>
              All of one day of event time, UTC

          --reason <TEXT>
              Why; kept in the journal

          --author <NAME>
              Who wants it [default: $USER]

      -h, --help
              Print help (see a summary with '-h')
    "#);
}
