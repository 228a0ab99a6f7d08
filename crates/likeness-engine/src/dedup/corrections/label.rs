//! What people say of two images becomes a label, and settles the pair in the review queue.

use likeness_core::ImageId;

use super::apply::{Applying, Attempt, Refused};
use super::undo::superseded;
use super::{Command, Effect, Labelled, Refusal};
use crate::dedup::reviews::{LabelRecord, ReviewVerdict, label_key, queued};

impl Applying<'_> {
    /// Labels two images; with `correct` they are also kept together or apart from now on. If that cannot
    /// be, the label stands all the same: it says what a person saw, not where the images are.
    pub(super) async fn label(
        &mut self,
        a: &ImageId,
        b: &ImageId,
        verdict: ReviewVerdict,
        correct: bool,
    ) -> Attempt<Effect> {
        if a == b {
            return Err(Refused::because("same_image", "name two images"));
        }
        let (mut a, mut b) = (self.placed(a).await?, self.placed(b).await?);
        if b.number < a.number {
            std::mem::swap(&mut a, &mut b);
        }
        let after = match verdict {
            ReviewVerdict::Skip => None,
            ReviewVerdict::Same | ReviewVerdict::Different => Some(LabelRecord {
                a: a.id.clone(),
                b: b.id.clone(),
                numbers: (a.number, b.number),
                same: verdict == ReviewVerdict::Same,
                score: self.score(&b, &a.record).await?.0,
                correction: self.sequence,
            }),
        };
        let mut effect = Effect::default();
        let mut not_corrected = None;
        if correct && after.is_some() {
            let totals = self.totals;
            let attempt = match verdict {
                ReviewVerdict::Same => self.always(&a.id, &b.id).await,
                // The earlier one stays, if it can.
                ReviewVerdict::Different | ReviewVerdict::Skip => self.never(&a.id, &b.id).await,
            };
            match attempt {
                Ok(made) => effect = made,
                Err(Refused::Because {
                    code: "already_so", ..
                }) => {}
                Err(Refused::Because { code, message }) => {
                    self.drop_prepared(totals);
                    not_corrected = Some(Refusal {
                        code: code.to_owned(),
                        message,
                    });
                }
                Err(failed) => return Err(failed),
            }
        }
        let before: Option<LabelRecord> =
            self.row("labels", &label_key(a.number, b.number)).await?;
        if let Some(label) = &after {
            self.writes.extend(label.put());
            self.totals.labels += u64::from(before.is_none());
        }
        effect.labelled = Some(Labelled {
            before: before.filter(|_| after.is_some()),
            after,
            not_corrected,
        });
        Ok(effect)
    }

    /// Takes a label back, and gives the pair the one that it had before.
    pub(super) async fn unlabel(&mut self, labelled: &Labelled) -> Attempt<()> {
        let Some(after) = &labelled.after else {
            return Ok(());
        };
        let (a, b) = after.numbers;
        let now: Option<LabelRecord> = self.row("labels", &label_key(a, b)).await?;
        if now.as_ref() != Some(after) {
            return Err(superseded(format!(
                "`{}` and `{}` have another label since",
                after.a, after.b
            )));
        }
        match &labelled.before {
            Some(before) => self.writes.extend(before.put()),
            None => {
                self.writes.extend(after.delete());
                self.totals.labels -= 1;
            }
        }
        Ok(())
    }

    /// Takes the pairs that a command has settled off the review queue.
    pub(super) async fn settle(&mut self, command: &Command, effect: &mut Effect) -> Attempt<()> {
        if self.totals.open_reviews == 0 {
            return Ok(());
        }
        let pairs = self.settled_by(command).await?;
        for record in queued(self.state, &pairs).await? {
            self.totals.open_reviews -= 1;
            self.writes.extend(record.delete());
            effect.settled.push(record);
        }
        Ok(())
    }

    /// Queues again what a correction that is undone had settled. This may put the queue over its bound by
    /// what had been in it, until the next pair is queued.
    pub(super) async fn unsettle(&mut self, effect: &Effect) -> Attempt<()> {
        for record in &effect.settled {
            let pair = [(record.image.clone(), record.head.clone())];
            if queued(self.state, &pair).await?.is_empty() {
                self.totals.open_reviews += 1;
                self.writes.extend(record.put());
            }
        }
        Ok(())
    }

    /// Returns the pairs about which a command leaves nothing to ask: those that it names, and of a split or
    /// a merge those with the heads.
    async fn settled_by(&self, command: &Command) -> Attempt<Vec<(ImageId, ImageId)>> {
        let (ones, others) = match command {
            Command::Label { a, b, .. }
            | Command::NeverTogether { a, b }
            | Command::AlwaysTogether { a, b } => (vec![a.clone()], vec![b.clone()]),
            Command::Split {
                cluster, members, ..
            } => (members.clone(), self.names(cluster).await?),
            Command::Merge { into, from } | Command::Fold { into, from } => {
                (self.names(into).await?, self.names(from).await?)
            }
            Command::Move {
                into: Some(into),
                members,
            } => (members.clone(), self.names(into).await?),
            Command::Move { into: None, .. }
            | Command::ReHead { .. }
            | Command::Erase { .. }
            | Command::Bank(_)
            | Command::Flood(_)
            | Command::Undo { .. } => return Ok(Vec::new()),
        };
        let pairs = ones.iter().flat_map(|one| {
            let pair = |other: &ImageId| (one.clone(), other.clone());
            others.iter().map(pair)
        });
        Ok(pairs.collect())
    }

    /// Returns the first image of a cluster, and its head.
    async fn names(&self, cluster: &ImageId) -> Attempt<Vec<ImageId>> {
        let head = self.cluster(cluster).await?.map(|it| it.head(cluster).id);
        let mut names = vec![cluster.clone()];
        names.extend(head.filter(|head| head != cluster));
        Ok(names)
    }
}
