//! Commands about banks and floods.

use insta::assert_snapshot;

use super::help;

#[test]
fn help_of_bank() {
    assert_snapshot!(help(&["bank"]), @r#"
    Keep sets of reference pictures that uploads are compared with

    Usage: likeness bank [OPTIONS] <COMMAND>

    Commands:
      create   Make a bank
      add      Add reference pictures: files, or stored images
      remove   Remove references
      set      Change how alike images must be, what share takes part, or switch the bank on or off
      list     List banks
      show     Show a bank and its references
      matches  List the images that matched a bank
      scan     Look at the stored images for a bank; goes on where it was stopped
      delete   Delete a bank with its references
      help     Print this message or the help of the given subcommand(s)

    Options:
      -h, --help
              Print help (see a summary with '-h')

    Examples:
      likeness bank create spam --threshold 0.9 --share 0.1 --negative --reason "a flood of adverts"
      likeness bank add spam advert-1.jpg advert-2.jpg --reason "reported"
      likeness bank set spam --share 1 --reason "no false matches in a day"
      likeness bank matches spam
      likeness bank scan spam
    "#);
}

#[test]
fn help_of_bank_create() {
    assert_snapshot!(help(&["bank", "create"]), @r#"
    Make a bank

    Usage: likeness bank create [OPTIONS] --threshold <T> --reason <TEXT> --author <NAME> <NAME>

    Arguments:
      <NAME>
              Name: 1 to 64 lower-case letters, digits, `-` and `_`

    Options:
          --threshold <T>
              Score from 0 to 1 that an image needs with a reference

          --share <SHARE>
              Share of images that take part, 0 to 1

              [default: 1]

          --negative
              Images that match stay alone: they join nothing, and nothing joins them

          --reason <TEXT>
              Why it is made; kept with it

          --author <NAME>
              Who makes it [default: $USER]

      -h, --help
              Print help (see a summary with '-h')
    "#);
}

#[test]
fn help_of_bank_add() {
    assert_snapshot!(help(&["bank", "add"]), @r#"
    Add reference pictures: files, or stored images

    Usage: likeness bank add [OPTIONS] --reason <TEXT> --author <NAME> <NAME> [FILE]...

    Arguments:
      <NAME>
              Name of the bank

      [FILE]...
              Picture files

    Options:
          --images <IDS>
              Ids of stored images, separated by commas

          --reason <TEXT>
              Why it is made; kept with it

          --author <NAME>
              Who makes it [default: $USER]

      -h, --help
              Print help (see a summary with '-h')
    "#);
}

#[test]
fn help_of_bank_set() {
    assert_snapshot!(help(&["bank", "set"]), @r#"
    Change how alike images must be, what share takes part, or switch the bank on or off

    Usage: likeness bank set [OPTIONS] --reason <TEXT> --author <NAME> <--threshold <T>|--share <SHARE>|--enabled <BOOL>> <NAME>

    Arguments:
      <NAME>
              Name of the bank

    Options:
          --threshold <T>
              Score from 0 to 1 that an image needs with a reference

          --share <SHARE>
              Share of images that take part, 0 to 1; those that took part still do when it grows

          --enabled <BOOL>
              Whether it is in force

              [possible values: true, false]

          --reason <TEXT>
              Why it is made; kept with it

          --author <NAME>
              Who makes it [default: $USER]

      -h, --help
              Print help (see a summary with '-h')
    "#);
}

#[test]
fn help_of_bank_matches() {
    assert_snapshot!(help(&["bank", "matches"]), @r#"
    List the images that matched a bank

    Usage: likeness bank matches [OPTIONS] <NAME>

    Arguments:
      <NAME>
              Name of the bank

    Options:
          --limit <N>
              Most entries to list

              [default: 20]

          --cursor <TEXT>
              Continue where an earlier list ended: the `next` that it gave

      -h, --help
              Print help (see a summary with '-h')
    "#);
}

#[test]
fn help_of_bank_scan() {
    assert_snapshot!(help(&["bank", "scan"]), @r#"
    Look at the stored images for a bank; goes on where it was stopped

    Usage: likeness bank scan [OPTIONS] <NAME>

    Arguments:
      <NAME>
              Name of the bank

    Options:
          --anew
              Begin anew, for example after the threshold was changed

      -h, --help
              Print help (see a summary with '-h')
    "#);
}

#[test]
fn help_of_flood() {
    assert_snapshot!(help(&["flood"]), @r#"
    See alarms about clusters that grow too fast, and decide about quarantines

    Usage: likeness flood [OPTIONS] <COMMAND>

    Commands:
      alarms       List alarms about clusters that grow too fast or too large, newest first
      acknowledge  Say that you have seen an alarm
      held         List the images that a cluster under quarantine holds
      quarantine   Put a cluster under quarantine: images that would join by score are held
      confirm      Say that a quarantine is right
      release      End a quarantine; the images that it held join, at most 1,000 at a time
      help         Print this message or the help of the given subcommand(s)

    Options:
      -h, --help
              Print help (see a summary with '-h')

    Examples:
      likeness flood alarms
      likeness flood held holiday.jpg
      likeness flood confirm holiday.jpg --bank spam --reason "a grey page"
      likeness flood release holiday.jpg --for-good --reason "a picture that many share"
    "#);
}

#[test]
fn help_of_flood_confirm() {
    assert_snapshot!(help(&["flood", "confirm"]), @r#"
    Say that a quarantine is right

    Usage: likeness flood confirm [OPTIONS] --reason <TEXT> --author <NAME> <CLUSTER>

    Arguments:
      <CLUSTER>
              Canonical id of the cluster

    Options:
          --bank <NAME>
              Negative bank that takes its head as a reference

          --reason <TEXT>
              Why it is made; kept with it

          --author <NAME>
              Who makes it [default: $USER]

      -h, --help
              Print help (see a summary with '-h')
    "#);
}

#[test]
fn help_of_flood_release() {
    assert_snapshot!(help(&["flood", "release"]), @r#"
    End a quarantine; the images that it held join, at most 1,000 at a time

    Usage: likeness flood release [OPTIONS] --reason <TEXT> --author <NAME> <CLUSTER>

    Arguments:
      <CLUSTER>
              Canonical id of the cluster

    Options:
          --for-good
              Never put it under quarantine again, however fast it grows

          --reason <TEXT>
              Why it is made; kept with it

          --author <NAME>
              Who makes it [default: $USER]

      -h, --help
              Print help (see a summary with '-h')
    "#);
}
