//! Exit codes, and the few causes that have one of their own.
//!
//! Errors travel as `anyhow::Error`; [`exit_code`] looks through the chain for a cause it knows.

use std::fmt;
use std::process::ExitCode;

use likeness_core::StoreError;
use likeness_core::query::QueryError;
use likeness_engine::EngineError;

use crate::client::RemoteError;

/// Text for `--help`: what the exit codes mean.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  failed
  2  wrong usage: an unknown command or flag
  3  not found: an image, a cluster, a file, a model
  4  invalid input: not a picture, a bad value, a bad configuration
  5  unavailable: locked by another process, overloaded, server out of reach";

/// A refusal with an exit code of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Something that was named does not exist: exit code 3.
    Missing,
    /// Something that was given is not valid: exit code 4.
    Input,
    /// Something that is needed is out of reach just now: exit code 5.
    Unavailable,
}

impl Refusal {
    /// Returns an error with this exit code.
    pub(crate) fn because(self, message: impl Into<String>) -> anyhow::Error {
        anyhow::Error::new(Refused {
            refusal: self,
            message: message.into(),
        })
    }

    fn code(self) -> u8 {
        match self {
            Self::Missing => 3,
            Self::Input => 4,
            Self::Unavailable => 5,
        }
    }
}

/// An error that carries its exit code.
#[derive(Debug)]
struct Refused {
    refusal: Refusal,
    message: String,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Refused {}

/// Returns the exit code for `error`: that of the first cause in its chain that has one, else 1.
pub(crate) fn exit_code(error: &anyhow::Error) -> ExitCode {
    ExitCode::from(error.chain().find_map(code_of).unwrap_or(1))
}

fn code_of(cause: &(dyn std::error::Error + 'static)) -> Option<u8> {
    if let Some(refused) = cause.downcast_ref::<Refused>() {
        return Some(refused.refusal.code());
    }
    if let Some(error) = cause.downcast_ref::<EngineError>() {
        return match error {
            EngineError::ImageNotFound(_)
            | EngineError::Erased(_)
            | EngineError::ClusterNotFound(_)
            | EngineError::PairNotFound(_) => Some(3),
            EngineError::NotDecided(_)
            | EngineError::Overloaded { .. }
            | EngineError::ShuttingDown => Some(5),
            EngineError::Store(error) => code_of(error),
            error if error.is_callers() => Some(4),
            _ => None,
        };
    }
    if let Some(error) = cause.downcast_ref::<StoreError>() {
        return match error {
            StoreError::Locked { .. }
            | StoreError::Unavailable { .. }
            | StoreError::NoSpace { .. } => Some(5),
            StoreError::Invalid { .. } => Some(4),
            _ => None,
        };
    }
    if let Some(error) = cause.downcast_ref::<QueryError>() {
        return match error {
            QueryError::Invalid(_) | QueryError::Failed(_) | QueryError::TooLarge(_) => Some(4),
            QueryError::Busy(_) => Some(5),
            QueryError::TimedOut(_) => None,
            QueryError::Store(error) => code_of(error),
        };
    }
    if let Some(error) = cause.downcast_ref::<RemoteError>() {
        return match error.status {
            404 | 410 => Some(3),
            429 | 503 => Some(5),
            409 if error.code == "not_decided" => Some(5),
            400..500 => Some(4),
            _ => None,
        };
    }
    if let Some(error) = cause.downcast_ref::<std::io::Error>() {
        return (error.kind() == std::io::ErrorKind::NotFound).then_some(3);
    }
    None
}

#[cfg(test)]
mod tests {
    use anyhow::Context;
    use likeness_core::ImageId;

    use super::*;

    #[track_caller]
    fn check(error: impl Into<anyhow::Error>, code: u8) {
        let error = Err::<(), _>(error.into())
            .context("while doing something")
            .unwrap_err();
        assert_eq!(exit_code(&error), ExitCode::from(code), "{error:#}");
    }

    #[test]
    fn causes_deep_in_the_chain_set_the_exit_code() {
        let id = ImageId::new("a").unwrap();
        check(EngineError::ImageNotFound(id), 3);
        check(EngineError::PairNotFound("1-2".to_owned()), 3);
        check(ImageId::new("").map_err(EngineError::from).unwrap_err(), 4);
        check(
            EngineError::Store(StoreError::Locked {
                store: "state",
                reason: "pid 7".to_owned(),
            }),
            5,
        );
        check(QueryError::Invalid("no table".to_owned()), 4);
        check(QueryError::Busy(4), 5);
        check(Refusal::Input.because("bad"), 4);
        check(anyhow::anyhow!("anything"), 1);
    }
}
