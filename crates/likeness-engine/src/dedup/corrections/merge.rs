//! Clusters become one, get another head, and images are kept together or apart.

use likeness_core::ImageId;

use super::apply::{Applying, Attempt, Placed, Refused};
use super::constraints::Bond;
use super::{Effect, MAX_PARTS, Merged, Reheaded};
use crate::dedup::records::Head;

impl Applying<'_> {
    pub(super) async fn merge(&mut self, into: &ImageId, from: &ImageId) -> Attempt<Effect> {
        let mut effect = Effect::default();
        let (a, b) = self.join(into, from, &mut effect).await?;
        let (a, b) = (self.placed(&a.id).await?, self.placed(&b.id).await?);
        self.bind(Bond::Always, &a, &b, &mut effect).await?;
        Ok(effect)
    }

    /// Merges two clusters, and returns their heads.
    pub(super) async fn join(
        &mut self,
        into: &ImageId,
        from: &ImageId,
        effect: &mut Effect,
    ) -> Attempt<(Head, Head)> {
        let (mut whole, mut part) = (self.standing(into).await?, self.standing(from).await?);
        if into == from {
            return Err(Refused::because(
                "same_cluster",
                format!("`{into}` is one cluster already"),
            ));
        }
        if whole.parts.len() + part.parts.len() + 1 > MAX_PARTS {
            return Err(Refused::because(
                "too_many_parts",
                format!("a cluster is merged of at most {MAX_PARTS} others"),
            ));
        }
        for pair in self.pairs(Bond::Never, None).await? {
            let (a, b) = (self.placed(&pair.a).await?, self.placed(&pair.b).await?);
            let would_meet =
                (a.home == *into && b.home == *from) || (a.home == *from && b.home == *into);
            if would_meet {
                return Err(never(&pair.a, &pair.b, pair.correction));
            }
        }
        let heads = (whole.head(into), part.head(from));
        whole.own = Some(whole.own());
        whole.size += part.size;
        whole.updated = self.now;
        whole.parts.push(from.clone());
        whole.parts.extend(part.parts.iter().cloned());
        for id in part.parts.clone() {
            if let Some(mut smaller) = self.cluster(&id).await? {
                smaller.merged_into = Some(into.clone());
                self.put(&id, Some(smaller)).await?;
            }
        }
        part.own = Some(part.own());
        part.merged_into = Some(into.clone());
        self.put(from, Some(part)).await?;
        self.put(into, Some(whole)).await?;
        effect.merged = Some(Merged {
            into: into.clone(),
            from: from.clone(),
        });
        Ok(heads)
    }

    pub(super) async fn rehead(&mut self, cluster: &ImageId, head: &ImageId) -> Attempt<Effect> {
        let mut standing = self.standing(cluster).await?;
        let placed = self.placed(head).await?;
        if placed.home != *cluster {
            return Err(Refused::because(
                "not_a_member",
                format!(
                    "`{head}` is in the cluster `{}`, not in `{cluster}`",
                    placed.home
                ),
            ));
        }
        let before = standing.head(cluster);
        if before.id == *head {
            return Err(Refused::because(
                "already_so",
                format!("`{head}` is the head of `{cluster}` already"),
            ));
        }
        let after = Head {
            id: head.clone(),
            number: placed.number,
        };
        standing.set_head(cluster, after.clone());
        standing.updated = self.now;
        self.put(cluster, Some(standing)).await?;
        Ok(Effect {
            reheaded: Some(Reheaded {
                cluster: cluster.clone(),
                before,
                after,
            }),
            ..Effect::default()
        })
    }

    pub(super) async fn never(&mut self, a: &ImageId, b: &ImageId) -> Attempt<Effect> {
        let (a, b) = self.pair(a, b, Bond::Never).await?;
        let mut effect = Effect::default();
        if a.home == b.home {
            let standing = self.standing(&a.home).await?;
            let leaver = [&b, &a]
                .into_iter()
                .find(|placed| self.check_can_leave(placed, &a.home, &standing).is_ok());
            let Some(leaver) = leaver else {
                return Err(Refused::because(
                    "both_stay",
                    format!(
                        "neither `{}` nor `{}` can leave `{}`: each gave a cluster its id or is the head; undo the merge, or choose another head first",
                        a.id, b.id, a.home
                    ),
                ));
            };
            let group = std::slice::from_ref(leaver);
            self.check_stays_whole(group).await?;
            effect.beheaded = self.behead(group).await?;
            self.move_out(group, &mut effect).await?;
        }
        self.bind(Bond::Never, &a, &b, &mut effect).await?;
        Ok(effect)
    }

    pub(super) async fn always(&mut self, a: &ImageId, b: &ImageId) -> Attempt<Effect> {
        let (a, b) = self.pair(a, b, Bond::Always).await?;
        let mut effect = Effect::default();
        if a.home != b.home {
            let first = self.standing(&a.home).await?.first_number;
            let second = self.standing(&b.home).await?.first_number;
            // The older canonical id stays: more of those who hold one hold it.
            let (into, from) = if first < second {
                (&a.home, &b.home)
            } else {
                (&b.home, &a.home)
            };
            self.join(into, from, &mut effect).await?;
        }
        self.bind(Bond::Always, &a, &b, &mut effect).await?;
        Ok(effect)
    }

    /// Returns two images of which nothing is asked that speaks against `bond`.
    async fn pair(&self, a: &ImageId, b: &ImageId, bond: Bond) -> Attempt<(Placed, Placed)> {
        if a == b {
            return Err(Refused::because("same_image", "name two images"));
        }
        let (a, b) = (self.placed(a).await?, self.placed(b).await?);
        match self.bond(&a, &b).await? {
            None => Ok((a, b)),
            Some(before) if before == bond => Err(Refused::because(
                "already_so",
                format!(
                    "an earlier correction asks the same of `{}` and `{}`",
                    a.id, b.id
                ),
            )),
            Some(_) => Err(Refused::because(
                "conflicting_constraint",
                format!(
                    "an earlier correction asks the opposite of `{}` and `{}`; undo it first",
                    a.id, b.id
                ),
            )),
        }
    }
}

/// Two images that must never be together would be.
pub(super) fn never(a: &ImageId, b: &ImageId, correction: u64) -> Refused {
    Refused::because(
        "never_together",
        format!(
            "`{a}` and `{b}` must never be together (correction {correction}); undo that first"
        ),
    )
}
