//! Clusters: the lists of them, and their members page by page.

use std::ops::Bound;

use bytes::Bytes;
use likeness_core::ImageId;
use likeness_core::state::{Direction, Row, Scan, Table, Write};

use super::Dedup;
use super::query::check_limit;
use super::records::{ClusterRecord, MemberRecord};
use super::tables::{
    CLUSTERS_BY_SIZE, CLUSTERS_BY_TIME, MEMBERS, SHARD, SHARD_OF_MANY, by_size_key, by_time_key,
    cluster_key, decode, descending_first,
};
use super::view::{ClusterOrder, ClusterSummary, ClusterView, MemberView, Page};
use crate::EngineError;

/// Members shown of a cluster in a list.
const SAMPLE: usize = 6;
/// Clusters looked at for one page of a filtered list; then the page ends early, with a cursor.
const MAX_SCANNED: usize = 5_000;

/// Returns the rows of the lists that show a cluster.
pub(super) fn list(id: &ImageId, cluster: &ClusterRecord) -> Vec<Write> {
    let name = Bytes::copy_from_slice(id.as_bytes());
    let (first, updated) = (cluster.first_number, cluster.updated.0);
    let mut writes = vec![
        Write::Put(by_size_key(cluster.size, first), name.clone()),
        Write::Put(by_time_key(SHARD, updated, first), name.clone()),
    ];
    if cluster.size > 1 {
        writes.push(Write::Put(by_time_key(SHARD_OF_MANY, updated, first), name));
    }
    writes
}

/// Takes a cluster, as it was, off the lists.
pub(super) fn unlist(cluster: &ClusterRecord) -> [Write; 3] {
    let (first, updated) = (cluster.first_number, cluster.updated.0);
    [
        Write::Delete(by_size_key(cluster.size, first)),
        Write::Delete(by_time_key(SHARD, updated, first)),
        Write::Delete(by_time_key(SHARD_OF_MANY, updated, first)),
    ]
}

impl Dedup {
    /// Lists clusters of at least `min_size` images. A page may be short, even empty, and still
    /// have a cursor, when the filter passed over many.
    ///
    /// # Errors
    /// [`EngineError::InvalidParameter`] for a limit or a cursor that is not one.
    pub async fn clusters(
        &self,
        order: ClusterOrder,
        min_size: u64,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<Page<ClusterSummary>, EngineError> {
        check_limit(limit)?;
        let (table, shard) = match order {
            ClusterOrder::Biggest => (CLUSTERS_BY_SIZE, SHARD),
            ClusterOrder::Newest if min_size >= 2 => (CLUSTERS_BY_TIME, SHARD_OF_MANY),
            ClusterOrder::Newest => (CLUSTERS_BY_TIME, SHARD),
        };
        let mut after = cursor.map(parse_cursor).transpose()?;
        let mut items = Vec::with_capacity(limit);
        let mut num_scanned = 0;
        loop {
            let page = limit + 1;
            let rows = self.scan(table, shard, after.clone(), page).await?;
            let is_last_page = rows.len() < page;
            for row in rows {
                if items.len() == limit || num_scanned >= MAX_SCANNED {
                    return Ok(page_of(items, after));
                }
                num_scanned += 1;
                let too_small = descending_first(&row.sort).is_some_and(|size| size < min_size);
                if order == ClusterOrder::Biggest && too_small {
                    return Ok(page_of(items, None));
                }
                let head = ImageId::new(String::from_utf8_lossy(&row.value))?;
                if let Some(summary) = self.summary(&head, min_size).await? {
                    items.push(summary);
                }
                after = Some(row.sort);
            }
            if is_last_page {
                return Ok(page_of(items, None));
            }
        }
    }

    async fn scan(
        &self,
        table: Table,
        partition: &[u8],
        after: Option<Bytes>,
        limit: usize,
    ) -> Result<Vec<Row>, EngineError> {
        let scan = Scan {
            table,
            partition: Bytes::copy_from_slice(partition),
            lower: after.map_or(Bound::Unbounded, Bound::Excluded),
            upper: Bound::Unbounded,
            direction: Direction::Ascending,
            limit,
        };
        Ok(self.ports.state.scan(scan).await?)
    }

    /// Returns a cluster for a list; nothing if it is smaller than wanted, or if its row in the
    /// list was read while the cluster was moving.
    async fn summary(
        &self,
        head: &ImageId,
        min_size: u64,
    ) -> Result<Option<ClusterSummary>, EngineError> {
        let cluster: Option<ClusterRecord> = self.row("clusters", &cluster_key(head)).await?;
        let Some(cluster) = cluster.filter(|cluster| cluster.size >= min_size) else {
            return Ok(None);
        };
        let sample = self
            .scan(MEMBERS, head.as_bytes(), None, SAMPLE)
            .await?
            .iter()
            .map(|row| {
                Ok(decode::<MemberRecord>("members", &row.value)?
                    .id
                    .to_string())
            })
            .collect::<Result<_, EngineError>>()?;
        Ok(Some(ClusterSummary {
            head: head.to_string(),
            shown: cluster.head.map(|shown| shown.id.to_string()),
            size: cluster.size,
            created_ms: cluster.created.0,
            updated_ms: cluster.updated.0,
            sample,
        }))
    }

    /// Returns a cluster with a page of its members, in the order of joining.
    ///
    /// # Errors
    /// [`EngineError::ClusterNotFound`] if `head` is no canonical id (one that led elsewhere by a merge is);
    /// [`EngineError::InvalidParameter`] for a limit or a cursor that is not one.
    pub async fn cluster(
        &self,
        head: &ImageId,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<ClusterView, EngineError> {
        check_limit(limit)?;
        let (mut part, mut after) = match cursor {
            Some(text) => parse_member_cursor(text)?,
            None => (0, None),
        };
        let mut head = head.clone();
        let mut cluster = self.standing(&head).await?;
        // An image that was held and joined leads to its holder, which may have been merged itself.
        while let Some(into) = cluster.merged_into.take() {
            cluster = self.standing(&into).await?;
            head = into;
        }
        // Its own members, then those of the clusters that were merged into it, one after the other.
        let parts: Vec<&ImageId> = std::iter::once(&head).chain(&cluster.parts).collect();
        let mut members = Vec::new();
        let mut next = None;
        while part < parts.len() {
            let room = limit - members.len();
            let rows = self
                .scan(MEMBERS, parts[part].as_bytes(), after.take(), room + 1)
                .await?;
            for row in rows.iter().take(room) {
                members.push(member_view(decode("members", &row.value)?));
                next = Some(member_cursor(part, &row.sort));
            }
            if rows.len() > room {
                break;
            }
            part += 1;
        }
        Ok(ClusterView {
            head: head.to_string(),
            shown: cluster.head.map(|shown| shown.id.to_string()),
            size: cluster.size,
            created_ms: cluster.created.0,
            updated_ms: cluster.updated.0,
            members,
            next: next.filter(|_| part < parts.len()),
        })
    }

    async fn standing(&self, id: &ImageId) -> Result<ClusterRecord, EngineError> {
        self.row("clusters", &cluster_key(id))
            .await?
            .ok_or_else(|| EngineError::ClusterNotFound(id.clone()))
    }
}

fn member_view(member: MemberRecord) -> MemberView {
    MemberView {
        id: member.id.to_string(),
        name: member.name,
        score: member.score,
        exact_copy: member.exact_copy,
        joined_ms: member.joined.0,
        width: member.width,
        height: member.height,
        num_bytes: member.num_bytes,
        format: member.format.as_str().to_owned(),
    }
}

fn page_of<T>(items: Vec<T>, after: Option<Bytes>) -> Page<T> {
    Page {
        items,
        next: after.map(|sort| hex(&sort)),
    }
}

/// Of members a cursor is the sort key, after the place of a merged cluster among the parts, if it is of one.
fn member_cursor(part: usize, sort: &[u8]) -> String {
    match part {
        0 => hex(sort),
        part => hex(&[&(part as u64).to_be_bytes(), sort].concat()),
    }
}

fn parse_member_cursor(text: &str) -> Result<(usize, Option<Bytes>), EngineError> {
    let mut bytes = parse_cursor(text)?;
    let sort = bytes.split_off(bytes.len() - size_of::<u64>());
    let part = bytes
        .iter()
        .fold(0, |part, &byte| part << 8 | usize::from(byte));
    Ok((part, Some(sort)))
}

/// A cursor is the sort key of the last row given out, in hex.
fn hex(sort: &[u8]) -> String {
    use std::fmt::Write;
    sort.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a string cannot fail");
        text
    })
}

fn parse_cursor(text: &str) -> Result<Bytes, EngineError> {
    let digits = text.as_bytes();
    let is_cursor = matches!(digits.len(), 16 | 32) && digits.iter().all(u8::is_ascii_hexdigit);
    if !is_cursor {
        return Err(EngineError::InvalidParameter {
            name: "cursor",
            reason: "must be the `next` of the page before".to_owned(),
        });
    }
    let value = |digit: u8| (digit as char).to_digit(16).map_or(0, |value| value as u8);
    Ok(digits
        .chunks_exact(2)
        .map(|pair| value(pair[0]) << 4 | value(pair[1]))
        .collect::<Vec<_>>()
        .into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_read_back_and_nothing_else_is_one() {
        let sort = Bytes::from_static(&[0, 1, 0xfe, 0xff, 9, 8, 7, 6]);
        assert_eq!(parse_cursor(&hex(&sort)).unwrap(), sort);
        for bad in [
            "",
            "00",
            "zz00000000000000",
            "0001fe ff09080706",
            "é001feff0908070",
        ] {
            assert!(parse_cursor(bad).is_err(), "{bad:?}");
        }
    }
}
