//! Who takes part: one entry for each index, with the builds that are tried.

use anyhow::bail;

/// How an index finds its candidates; the aim for mixed load is set against graphs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    /// The index of this project.
    Ours,
    /// Neighbours of neighbours.
    Graph,
    /// Inverted lists of short codes.
    Lists,
}

/// An index to measure.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Contender {
    /// What `--peers` and the driver call it.
    pub(crate) name: &'static str,
    pub(crate) family: Family,
    /// Its Python environment: `requirements/<environment>.txt`.
    pub(crate) environment: &'static str,
    /// Its driver in `xtask/bench`.
    pub(crate) driver: &'static str,
    /// Builds to try, in words of the driver; a quick run takes the first.
    pub(crate) builds: &'static [&'static str],
}

/// The name of our own.
pub(crate) const OURS: &str = "likeness";

pub(crate) const CONTENDERS: &[Contender] = &[
    Contender {
        name: OURS,
        family: Family::Ours,
        environment: "sets",
        driver: "peer_likeness.py",
        builds: &["default"],
    },
    Contender {
        name: "hnswlib",
        family: Family::Graph,
        environment: "hnswlib",
        driver: "peer_hnswlib.py",
        builds: &["M=16", "M=32"],
    },
    Contender {
        name: "usearch-f32",
        family: Family::Graph,
        environment: "usearch",
        driver: "peer_usearch.py",
        builds: &["M=16"],
    },
    Contender {
        name: "usearch-bf16",
        family: Family::Graph,
        environment: "usearch",
        driver: "peer_usearch.py",
        builds: &["M=16"],
    },
    Contender {
        name: "usearch-i8",
        family: Family::Graph,
        environment: "usearch",
        driver: "peer_usearch.py",
        builds: &["M=16"],
    },
    Contender {
        name: "faiss-hnsw",
        family: Family::Graph,
        environment: "faiss",
        driver: "peer_faiss.py",
        builds: &["M=16", "M=32"],
    },
    Contender {
        name: "faiss-ivf-pqfs",
        family: Family::Lists,
        environment: "faiss",
        driver: "peer_faiss.py",
        builds: &["lists=2", "lists=1", "lists=4"],
    },
    Contender {
        name: "faiss-ivf-rabitqfs",
        family: Family::Lists,
        environment: "faiss",
        driver: "peer_faiss.py",
        builds: &["lists=2", "lists=1", "lists=4"],
    },
    Contender {
        name: "scann",
        family: Family::Lists,
        environment: "scann",
        driver: "peer_scann.py",
        builds: &["leaves=2", "leaves=1", "leaves=4"],
    },
    Contender {
        name: "scann-core",
        family: Family::Lists,
        environment: "scann-core",
        driver: "peer_scann.py",
        builds: &["leaves=2", "leaves=1", "leaves=4"],
    },
];

/// Returns the contenders of these names in the order of the table, all if there are none.
///
/// # Errors
/// If one is not known.
pub(crate) fn chosen(names: &[String]) -> anyhow::Result<Vec<&'static Contender>> {
    for name in names {
        if find(name).is_none() {
            let known: Vec<&str> = CONTENDERS.iter().map(|contender| contender.name).collect();
            bail!("no peer is called `{name}`; there are {}", known.join(", "));
        }
    }
    Ok(CONTENDERS
        .iter()
        .filter(|contender| names.is_empty() || names.iter().any(|name| name == contender.name))
        .collect())
}

/// Returns the contender of a name.
pub(crate) fn find(name: &str) -> Option<&'static Contender> {
    CONTENDERS.iter().find(|contender| contender.name == name)
}

#[cfg(test)]
mod tests {
    use super::{CONTENDERS, chosen};

    #[test]
    fn every_contender_has_its_driver_and_its_requirements() {
        let folder = crate::workspace::root().join("xtask/bench");
        for contender in CONTENDERS {
            assert!(folder.join(contender.driver).is_file(), "{contender:?}");
            let file = format!("requirements/{}.txt", contender.environment);
            assert!(folder.join(file).is_file(), "{contender:?}");
            assert!(!contender.builds.is_empty(), "{contender:?}");
        }
    }

    #[test]
    fn peers_are_chosen_by_name_and_a_wrong_name_is_refused() {
        let names = ["scann".to_owned(), "likeness".to_owned()];
        let found: Vec<&str> = chosen(&names).unwrap().iter().map(|one| one.name).collect();
        assert_eq!(found, ["likeness", "scann"]);
        assert_eq!(chosen(&[]).unwrap().len(), CONTENDERS.len());
        let error = chosen(&["faiss".to_owned()]).unwrap_err().to_string();
        assert!(error.contains("faiss-hnsw"), "{error}");
    }
}
