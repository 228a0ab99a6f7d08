//! Commands of pins, and of what runs by the clock.

use insta::assert_snapshot;

use super::help;

#[test]
fn help_of_emulate() {
    assert_snapshot!(help(&["emulate"]), @r#"
    Post pins as a service would, to try the way in and to load it

    Usage: likeness emulate [OPTIONS]

    Options:
          --rate <N>
              Pins per second

              [default: 100]

          --seed <S>
              Any number; another one posts other pins

              [default: 1]

          --dirty <SHARE>
              Share of events that lack something or say it in an odd way; a few of them cannot be
              cleaned

              [default: 5%]

          --late <SHARE>
              Share of geolocations whose time lies hours back

              [default: 2%]

          --count <N>
              Stop after so many pins

          --seconds <N>
              Stop after so many seconds

          --connections <N>
              Connections that post at once

              [default: 4]

      -h, --help
              Print help (see a summary with '-h')

    Each pin is posted with its geolocation and its user. The same seed posts the same, but for the
    times, which are those of now. Without `--count` or `--seconds` it goes on until Ctrl-C. It needs a
    running server: the one that has the data directory open, or the one that `--server` names.

    Examples:
      likeness emulate --rate 100 --seconds 60
      likeness emulate --rate 2000 --count 100000 --dirty 20% --late 10% --seed 7 --json
      likeness emulate --server http://pins.example:7878 --rate 10
    "#);
}

#[test]
fn help_of_jobs() {
    assert_snapshot!(help(&["jobs"]), @r#"
    Show what runs by the clock, run it, and see how it went

    Usage: likeness jobs [OPTIONS] <COMMAND>

    Commands:
      list     List jobs: when they run, and how they did last
      history  List runs of a job, latest first
      run      Run a job over some days, whatever was run before
      show     Show a run and its figures
      cancel   Take a run out of the queue, or end it
      help     Print this message or the help of the given subcommand(s)

    Options:
      -h, --help
              Print help (see a summary with '-h')

    Jobs run in a server: the one that has the data directory open, or the one that `--server` names.

    Examples:
      likeness jobs list
      likeness jobs history recluster-plan
      likeness jobs run recluster-plan --from 2026-01-01 --to 2026-01-31
      likeness jobs cancel recluster-plan 17
    "#);
}

#[test]
fn help_of_jobs_run() {
    assert_snapshot!(help(&["jobs", "run"]), @r#"
    Run a job over some days, whatever was run before

    Usage: likeness jobs run [OPTIONS] <NAME>

    Arguments:
      <NAME>
              Name of the job

    Options:
          --from <YYYY-MM-DD>
              First day, UTC [default: yesterday]

          --to <YYYY-MM-DD>
              Last day, itself included [default: the same as `--from`]

          --wait
              Wait until all of them have come to their end; exit code 1 if one has not succeeded

      -h, --help
              Print help (see a summary with '-h')
    "#);
}

#[test]
fn help_of_jobs_history() {
    assert_snapshot!(help(&["jobs", "history"]), @r#"
    List runs of a job, latest first

    Usage: likeness jobs history [OPTIONS] <NAME>

    Arguments:
      <NAME>
              Name of the job

    Options:
          --limit <N>
              Most runs to list

              [default: 20]

          --before <RUN>
              Those with smaller numbers: the `next` that an earlier list gave

      -h, --help
              Print help (see a summary with '-h')
    "#);
}

#[test]
fn help_of_sql() {
    assert_snapshot!(help(&["sql"]), @r#"
    Ask in SQL over pins, raw events and live numbers

    Usage: likeness sql [OPTIONS] <SQL|--file <FILE>|--tables>

    Arguments:
      [SQL]
              The query; `-` reads it from stdin

    Options:
          --file <FILE>
              Read the query from a file

          --tables
              List the tables that can be queried, with their columns

          --format <FORMAT>
              Form of the answer [default: what the ending of `--output` says, else `table`; `json` with
              `--json`]

              Possible values:
              - table:   Columns of text, the first rows
              - json:    One JSON object with columns and the first rows
              - csv:     All rows, with a line of names
              - ndjson:  All rows, one JSON object a line
              - parquet: All rows, Apache Parquet

          --output <FILE>
              Write the answer to this file, which appears once it is whole

          --limit <N>
              Most rows of a table and of JSON [default: 1000]

      -h, --help
              Print help (see a summary with '-h')

    Asks the server that has the data directory open, or the one that `--server` names; without one it
    reads the data directory itself. Queries change nothing. CSV, NDJSON and Parquet have all rows;
    tables and JSON the first ones.

    Examples:
      likeness sql --tables
      likeness sql "SELECT category, count(*) AS pins FROM pins GROUP BY 1 ORDER BY 2 DESC"
      likeness sql "SELECT * FROM pins WHERE category = 'art'" --output art.parquet
      likeness sql --file monthly.sql --format csv | head
      echo 'SELECT count(*) FROM pins' | likeness sql - --json
    "#);
}

#[test]
fn help_of_pins() {
    assert_snapshot!(help(&["pins"]), @r#"
    Answer reports over pins

    Usage: likeness pins [OPTIONS] <COMMAND>

    Commands:
      report  Answer a report; without a name, list those that there are
      help    Print this message or the help of the given subcommand(s)

    Options:
      -h, --help
              Print help (see a summary with '-h')
    "#);
}

#[test]
fn help_of_pins_report() {
    assert_snapshot!(help(&["pins", "report"]), @r#"
    Answer a report; without a name, list those that there are

    Usage: likeness pins report [OPTIONS] [NAME]

    Arguments:
      [NAME]
              Name of the report

    Options:
          --format <FORMAT>
              Form of the answer [default: what the ending of `--output` says, else `table`; `json` with
              `--json`]

              Possible values:
              - table:   Columns of text, the first rows
              - json:    One JSON object with columns and the first rows
              - csv:     All rows, with a line of names
              - ndjson:  All rows, one JSON object a line
              - parquet: All rows, Apache Parquet

          --output <FILE>
              Write the answer to this file, which appears once it is whole

          --limit <N>
              Most rows of a table and of JSON [default: 1000]

      -h, --help
              Print help (see a summary with '-h')

    A report is a query with a name; `likeness pins report --json` shows their SQL. Asks the server that
    has the data directory open, or the one that `--server` names; without one it reads the data
    directory itself.

    Examples:
      likeness pins report
      likeness pins report top-category-by-year
      likeness pins report users-joined-by-year --output joined.csv
    "#);
}

#[test]
fn help_of_bench_lake() {
    assert_snapshot!(help(&["bench", "lake"]), @r#"
    Fill a lake with drawn pins, and measure how fast it is written

    Usage: likeness bench lake [OPTIONS] --into <DIR>

    Options:
          --into <DIR>
              Data directory to make; it must not exist, or be empty

          --rows <N>
              How many rows, a third each of pins, geolocations and users

              [default: 3000000]

          --days <N>
              Over how many days

              [default: 365]

          --updates <SHARE>
              Share of posts that come a second time, later and in another category

              [default: 1%]

          --seed <S>
              Seed of the posts

              [default: 1]

      -h, --help
              Print help (see a summary with '-h')

    Makes a data directory with nothing in it but a lake: posts as `likeness emulate` draws them,
    cleaned and written as the daily batch does it, spread evenly over days. The same arguments make
    the same rows. Ask them with `likeness --data-dir DIR sql`. The last line is one JSON object.

    Examples:
      likeness bench lake --into /tmp/lake --rows 3000000
      likeness bench lake --into /tmp/lake --rows 100000000 --days 730 --updates 5%
    "#);
}
