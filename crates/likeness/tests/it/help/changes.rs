//! Commands that change clusters.

use insta::assert_snapshot;

use super::help;

#[test]
fn help_of_correct() {
    assert_snapshot!(help(&["correct"]), @r#"
    Correct clusters by hand, and undo corrections

    Usage: likeness correct [OPTIONS] <COMMAND>

    Commands:
      split   Let members leave a cluster and found one of their own
      merge   Give all images of one cluster the canonical id of another
      rehead  Choose another member for images to be compared with
      never   Keep two images in different clusters
      always  Keep two images in one cluster
      undo    Take a correction back
      list    List corrections, newest first
      help    Print this message or the help of the given subcommand(s)

    Options:
      -h, --help
              Print help (see a summary with '-h')

    Examples:
      likeness correct split holiday.jpg holiday-4.jpg --reason "another beach"
      likeness correct never holiday.jpg harbour.jpg --reason "unlike"
      likeness correct list
      likeness correct undo 7 --reason "was right after all"
    "#);
}

#[test]
fn help_of_correct_split() {
    assert_snapshot!(help(&["correct", "split"]), @r#"
    Let members leave a cluster and found one of their own

    Usage: likeness correct split [OPTIONS] --reason <TEXT> --author <NAME> <CLUSTER> <MEMBERS>...

    Arguments:
      <CLUSTER>
              Canonical id of the cluster

      <MEMBERS>...
              Ids of the members that leave, at most 1,000

    Options:
          --each-alone
              Let each found a cluster of its own

          --reason <TEXT>
              Why it is made; kept with it

          --author <NAME>
              Who makes it [default: $USER]

      -h, --help
              Print help (see a summary with '-h')
    "#);
}

#[test]
fn help_of_recluster() {
    assert_snapshot!(help(&["recluster"]), @r#"
    Sort all images anew and show what would change; nothing is changed

    Usage: likeness recluster [OPTIONS]

    Options:
      -h, --help
              Print help (see a summary with '-h')

    Sorts all images anew into clusters that do not depend on the order in which they came, keeping what
    corrections ask for, and shows what that would change. Changes nothing; takes a search for each
    image.

    Examples:
      likeness recluster
      likeness recluster --json | jq '.moves[] | .id'
    "#);
}
