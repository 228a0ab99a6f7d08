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
fn help_of_delete() {
    assert_snapshot!(help(&["delete"]), @r#"
    Erase images for good, and prove that nothing is left of them

    Usage: likeness delete [OPTIONS] [IDS]...

    Arguments:
      [IDS]...
              Ids of the images

    Options:
          --from <FILE>
              Read ids from a file, one a line; `-` is standard input

          --reason <TEXT>
              Why they are erased; kept

          --author <NAME>
              Who erases them; kept [default: $USER]

          --yes
              Do not ask

          --dry-run
              Show what would go, and erase nothing

          --prove
              Look at everything for what is left of erased images, and fail if there is anything

          --file <FILE>
              The erased picture: look for its bytes, not for objects that belong to no image

      -h, --help
              Print help (see a summary with '-h')

    An erased image leaves its cluster, the index, every row, the log and the objects; nothing brings
    it back. Kept are a tombstone with who, when and why, and the id as a name, where others hold it as
    their canonical id or a correction names it. The id cannot be used again. The bytes stay if another
    image has the same.

    Examples:
      likeness delete holiday.jpg --reason "the owner asked"
      likeness delete --from ids.txt --reason "closed account" --yes
      likeness delete holiday.jpg --dry-run
      likeness delete holiday.jpg --prove --file holiday.jpg
    "#);
}

#[test]
fn help_of_recluster() {
    assert_snapshot!(help(&["recluster"]), @r#"
    Sort all images anew, show what would change, and apply it if told to

    Usage: likeness recluster [OPTIONS]

    Options:
          --apply <PLAN>
              Apply the plan with this digest

          --reason <TEXT>
              Why it is applied; kept

          --author <NAME>
              Who applies it; kept [default: $USER]

      -h, --help
              Print help (see a summary with '-h')

    Sorts all images anew into clusters that do not depend on the order in which they came, keeping
    what corrections ask for, and shows what that would change, with the digest of the plan. Takes a
    search for each image. With `--apply` and that digest it makes the changes, as corrections that can
    be undone; if something has changed since the plan was shown, it refuses. A run that was cut off
    goes on with the same command.

    Examples:
      likeness recluster
      likeness recluster --json | jq '.moves[] | .id'
      likeness recluster --apply 5f0c… --reason "after the import"
    "#);
}
