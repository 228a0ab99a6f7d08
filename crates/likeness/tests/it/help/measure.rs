//! Commands that evaluate, train and measure.

use insta::assert_snapshot;

use super::help;

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

          --families <FILE>
              Pictures to leave out, and families whose pairs count as neither; see `likeness train
              scorer`

          --negatives
              Add drawn hard negatives: cards, pages, chats, charts over one template each, flat
              pictures

          --same-scene <DIR>
              Folder of photos that show one scene from several sides, as further hard negatives

          --distractors <N>
              Compare all photos and copies with so many synthetic embeddings, drawn like those of real
              pictures

              [default: 0]

          --background <DIR>
              Folder of other photos that those are modelled on; may be given several times [default:
              every other photo]

          --hashes <FILE>
              Hashes that another program made of the same files; may be given several times

          --write <DIR>
              Write all pictures to this folder, and stop

          --scorer <FILE>
              Scorer to evaluate, a file of `likeness train scorer` [default: the configured one]

          --threshold <SCORE>
              Score that a pair needs [default: the scorer's own]

      -h, --help
              Print help (see a summary with '-h')

    Photos should all be of different things: pairs of different files count as strangers, unless
    `--families` says otherwise. Copies are made in memory by a published list of edits; equal
    seeds make equal copies. Everything goes through the real pipeline in a temporary store,
    which is removed at the end.

    Beside the scorer, the report has the plain cosine, PDQ, and whatever else made hashes of the
    same files: `--write DIR` writes these and stops; `--hashes FILE` reads JSON of the form
    {"name": …, "bits": 64, "recommended": 10, "hashes": {"picture-0": "<hex>", …}}.

    Examples:
      likeness eval near-duplicates --photos ~/Pictures/2025 --limit 300
      likeness eval near-duplicates --photos a --photos b --list extreme --json > extreme.json
      likeness eval near-duplicates --photos a --distractors 1000000
      likeness eval near-duplicates --photos a --negatives --same-scene rooms --families f.toml
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
              Fail if one of them finds a smaller share of the copies that exact search finds

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

          --leave-out <GLOB>
              Pictures to leave out besides, a glob as in that file; may be given several times

          --hardest <N>
              Name the N pairs of strangers of each kind that score highest

              [default: 0]

          --sticker-copies-every <N>
              Make copies of every N-th sticker only

              [default: 1]

          --out <FILE>
              File to write

              [default: scorer.json]

          --form <FORM>
              What to fit: two stages of boosted trees, or the regression of earlier versions

              [default: trees]
              [possible values: trees, logistic]

          --list <LIST>
              Which edits; may be given several times [default: both lists for trees, else the standard
              one]

              Possible values:
              - standard: What people do to pictures every day
              - extreme:  What still is recognisable to a person

          --copies-every <N>
              Make every N-th copy only, others of each photo

              [default: 1]

          --soft-every <N>
              Of every N-th photo learn from a soft picture too, of which only blots of colour are left;
              0 for none

              [default: 0]

          --drawn <N>
              Families of each kind of drawn hard negatives to learn from: other texts over one template

              [default: 16]

          --labels <FILE>
              Pairs that people have judged, NDJSON of {"a": FILE, "b": FILE, "same": BOOL}; more fields
              are ignored

          --precision <SHARE>
              Share of copies wanted among what reaches the threshold, instead of rates of strangers

          --min-cosine <COSINE>
              Cosine below which a pair is not looked at by anything

              [default: 0.2]

          --min-recall <SHARE>
              End with an error if a smaller share of the held-out copies of photos is found

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

              [default: 4]

      -h, --help
              Print help (see a summary with '-h')

    Copies are made by published lists of edits, hard negatives are drawn. Three tenths of the photos
    (half, for a regression) are held out for calibration, for the
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
      likeness train scorer --photos a --stickers b --labels judged.ndjson --precision 0.9999
      --min-recall 0.99
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
