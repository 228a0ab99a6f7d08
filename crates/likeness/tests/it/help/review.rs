//! Commands that ask people, and that compare scorers.

use insta::assert_snapshot;

use super::help;

#[test]
fn help_of_review() {
    assert_snapshot!(help(&["review"]), @r#"
    Look at the pairs that the scorer is least sure of, and label them

    Usage: likeness review [OPTIONS] <COMMAND>

    Commands:
      list    List the pairs that the scorer is least sure of
      decide  Say of pairs whether they are near-copies
      undo    Take an answer back
      export  Write all labels, one JSON object per line, for `likeness train scorer --labels`
      help    Print this message or the help of the given subcommand(s)

    Options:
      -h, --help
              Print help (see a summary with '-h')

    Examples:
      likeness review list
      likeness review decide same 12-57 --reason "the same advert"
      likeness review undo 7 --reason "looked again"
      likeness review export --out labels.ndjson --pictures
    "#);
}

#[test]
fn help_of_review_list() {
    assert_snapshot!(help(&["review", "list"]), @r"
    List the pairs that the scorer is least sure of

    Usage: likeness review list [OPTIONS]

    Options:
          --limit <N>
              Most pairs to list

              [default: 20]

          --cursor <TEXT>
              Continue where an earlier list ended: the `next` that it gave

      -h, --help
              Print help (see a summary with '-h')
    ");
}

#[test]
fn help_of_review_decide() {
    assert_snapshot!(help(&["review", "decide"]), @r"
    Say of pairs whether they are near-copies

    Usage: likeness review decide [OPTIONS] --reason <TEXT> --author <NAME> <VERDICT> <PAIR>...

    Arguments:
      <VERDICT>
              What they are

              Possible values:
              - same:      They are near-copies
              - different: They are not
              - skip:      Cannot be told: off the queue, without a label

      <PAIR>...
              Pairs as `review list` names them, such as 12-57; they need not be in the queue

    Options:
          --label-only
              Label only: leave the clusters as they are

          --reason <TEXT>
              Why it is made; kept with it

          --author <NAME>
              Who makes it [default: $USER]

      -h, --help
              Print help (see a summary with '-h')
    ");
}

#[test]
fn help_of_review_undo() {
    assert_snapshot!(help(&["review", "undo"]), @r"
    Take an answer back

    Usage: likeness review undo [OPTIONS] --reason <TEXT> --author <NAME> <CORRECTION>

    Arguments:
      <CORRECTION>
              Sequence number that `review decide` gave; `likeness correct list` shows it too

    Options:
          --reason <TEXT>
              Why it is made; kept with it

          --author <NAME>
              Who makes it [default: $USER]

      -h, --help
              Print help (see a summary with '-h')
    ");
}

#[test]
fn help_of_review_export() {
    assert_snapshot!(help(&["review", "export"]), @r"
    Write all labels, one JSON object per line, for `likeness train scorer --labels`

    Usage: likeness review export [OPTIONS]

    Options:
          --out <FILE>
              File to write; an older one is replaced once the new one is whole [default: stdout]

          --pictures
              Also write the pictures, to the folder FILE.pictures, and name them by their paths instead
              of their ids: what `likeness train scorer --labels FILE` reads

      -h, --help
              Print help (see a summary with '-h')
    ");
}

#[test]
fn help_of_scorer() {
    assert_snapshot!(help(&["scorer"]), @r"
    Keep versions of the scorer, to compare them

    Usage: likeness scorer [OPTIONS] <COMMAND>

    Commands:
      add   Keep a file of `likeness train scorer`, so that it can be compared
      list  List the versions that can be compared
      help  Print this message or the help of the given subcommand(s)

    Options:
      -h, --help
              Print help (see a summary with '-h')

    Keeping a version changes nothing. To decide with it, set `dedup.scorer` to its file and start
    again.

    Examples:
      likeness scorer add scorer.json
      likeness scorer list
    ");
}

#[test]
fn help_of_scorer_add() {
    assert_snapshot!(help(&["scorer", "add"]), @r"
    Keep a file of `likeness train scorer`, so that it can be compared

    Usage: likeness scorer add [OPTIONS] <FILE>

    Arguments:
      <FILE>
              The file

    Options:
      -h, --help
              Print help (see a summary with '-h')
    ");
}

#[test]
fn help_of_scorer_list() {
    assert_snapshot!(help(&["scorer", "list"]), @r"
    List the versions that can be compared

    Usage: likeness scorer list [OPTIONS]

    Options:
      -h, --help
              Print help (see a summary with '-h')
    ");
}

#[test]
fn help_of_compare_scorers() {
    assert_snapshot!(help(&["compare-scorers"]), @r"
    Show what would change if another version of the scorer decided; nothing is changed

    Usage: likeness compare-scorers [OPTIONS] --candidate <FILE|VERSION>

    Options:
          --candidate <FILE|VERSION>
              File or version that may be promoted

          --against <FILE|VERSION>
              File or version to compare it with [default: the one that decides now]

          --sample <N>
              Images, and labels, to look at

              [default: 1000]

          --seed <N>
              Which images; the same seed gives the same

              [default: 0]

      -h, --help
              Print help (see a summary with '-h')

    Decisions of a sample of images are made again with both, from what they were compared with; labels
    and the most uncertain pairs of the review queue are scored with both. Nothing changes; a FILE is
    kept
    as by `likeness scorer add`.

    Examples:
      likeness compare-scorers --candidate scorer.json
      likeness compare-scorers --candidate pairs/4 --against pairs/3 --sample 5000
    ");
}
