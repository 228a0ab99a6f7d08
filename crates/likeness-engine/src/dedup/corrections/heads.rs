//! A cluster that was merged keeps its head, since it may stand on its own again. So an image that leaves the whole
//! must leave no part headed by an image that is elsewhere.

use bytes::Bytes;
use likeness_core::state::Scan;
use likeness_core::{ImageId, ImageNumber};

use super::apply::{Applying, Attempt, Placed};
use super::{MAX_MOVED, Reheaded};
use crate::dedup::records::{ClusterRecord, Head, MemberRecord};
use crate::dedup::tables::{MEMBERS, decode, member_key};

impl Applying<'_> {
    /// Gives merged clusters that are headed by one of `leaving`, all of one cluster, another head: their first
    /// image, or else the member with the lowest number. Nothing is compared for it, so a replay finds
    /// the same. To be called before any of them is moved; returns what it changed.
    pub(super) async fn behead(&mut self, leaving: &[Placed]) -> Attempt<Vec<Reheaded>> {
        let mut beheaded = Vec::new();
        let Some(first) = leaving.first() else {
            return Ok(beheaded);
        };
        let whole = self.cluster(&first.home).await?;
        for id in whole.map_or_else(Vec::new, |whole| whole.parts) {
            let Some(mut part) = self.cluster(&id).await? else {
                continue;
            };
            let before = part.head(&id);
            if leaving.iter().all(|placed| placed.id != before.id) {
                continue;
            }
            // A part whose other images were all erased has a name only.
            let name = Head {
                id: id.clone(),
                number: part.first_number,
            };
            let after = self.stand_in(&id, &part, leaving).await?.unwrap_or(name);
            part.set_head(&id, after.clone());
            self.put(&id, Some(part)).await?;
            beheaded.push(Reheaded {
                cluster: id,
                before,
                after,
            });
        }
        Ok(beheaded)
    }

    async fn stand_in(
        &self,
        id: &ImageId,
        part: &ClusterRecord,
        leaving: &[Placed],
    ) -> Attempt<Option<Head>> {
        let first = part.first_number;
        if self.state.get(&member_key(id, first)).await?.is_some() {
            return Ok(Some(Head {
                id: id.clone(),
                number: first,
            }));
        }
        for of in std::iter::once(id).chain(&part.parts) {
            // One more than can leave.
            let scan = Scan::all(
                MEMBERS,
                Bytes::copy_from_slice(of.as_bytes()),
                MAX_MOVED + 1,
            );
            for row in self.state.scan(scan).await? {
                let number = ImageNumber(super::erase::read_number(&row.sort)?);
                if leaving.iter().any(|placed| placed.number == number) {
                    continue;
                }
                let member: MemberRecord = decode("members", &row.value)?;
                return Ok(Some(Head {
                    id: member.id,
                    number,
                }));
            }
        }
        Ok(None)
    }

    /// Takes back what [`behead`](Self::behead) changed, where a part was not changed since.
    pub(super) async fn crown(&mut self, beheaded: &[Reheaded]) -> Attempt<()> {
        for Reheaded {
            cluster,
            before,
            after,
        } in beheaded
        {
            let Some(mut part) = self.cluster(cluster).await? else {
                continue;
            };
            if part.is_standing() || part.head(cluster) != *after {
                continue;
            }
            part.set_head(cluster, before.clone());
            self.put(cluster, Some(part)).await?;
        }
        Ok(())
    }
}
