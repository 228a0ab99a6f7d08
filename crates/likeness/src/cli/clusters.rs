use clap::{Args, ValueEnum};
use likeness_engine::dedup::view::{ClusterOrder, ClusterSummary, ClusterView};
use serde::Serialize;

use super::Context;
use super::image::parse_id;
use crate::output::{Table, count, moment};
use crate::session::{Session, with_session};

/// Entries asked for at a time.
const PAGE: usize = 500;

/// Arguments of `likeness clusters`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  likeness clusters                        the 20 biggest clusters of two images and more
  likeness clusters --order newest --limit 100
  likeness clusters --all --json | jq '.items[] | select(.size > 10) | .head'")]
pub(crate) struct ClustersArgs {
    /// Smallest number of images
    #[arg(long, value_name = "N", default_value_t = 2)]
    min_size: u64,
    /// Which come first
    #[arg(long, value_enum, default_value_t = Order::Biggest)]
    order: Order,
    /// Most clusters to list
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..))]
    limit: u64,
    /// Continue where an earlier list ended: the `next` that it gave
    #[arg(long, value_name = "TEXT")]
    cursor: Option<String>,
    /// List all, however many
    #[arg(long, conflicts_with = "limit")]
    all: bool,
}

/// Which clusters come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Order {
    /// Most images first
    Biggest,
    /// Last changed first
    Newest,
}

/// Arguments of `likeness cluster`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  likeness cluster holiday.jpg
  likeness cluster holiday.jpg --limit 1000 --json")]
pub(crate) struct ClusterArgs {
    /// Id of the cluster's head; any member's `canonical_id`
    head: String,
    /// Most members to list
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
    limit: u64,
    /// Continue where an earlier list ended: the `next` that it gave
    #[arg(long, value_name = "TEXT")]
    cursor: Option<String>,
}

#[derive(Debug, Serialize)]
struct ClusterList {
    items: Vec<ClusterSummary>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

pub(crate) async fn list(args: ClustersArgs, context: Context) -> anyhow::Result<()> {
    let found = with_session(&context, async |session| collect(&args, session).await).await?;
    context.output.show(&found, |found| {
        if found.items.is_empty() {
            return format!("no clusters of {} images and more", args.min_size);
        }
        let mut table = Table::new(["images", "head", "updated"]);
        for cluster in &found.items {
            table.row([
                count(cluster.size),
                cluster.head.clone(),
                moment(cluster.updated_ms),
            ]);
        }
        with_next(&table, found.next.as_deref())
    })
}

fn with_next(table: &Table, next: Option<&str>) -> String {
    match next {
        Some(next) => format!("{table}\nmore: --cursor {next}"),
        None => table.to_string(),
    }
}

async fn collect(args: &ClustersArgs, session: &Session) -> anyhow::Result<ClusterList> {
    let order = match args.order {
        Order::Biggest => ClusterOrder::Biggest,
        Order::Newest => ClusterOrder::Newest,
    };
    let wanted = if args.all {
        usize::MAX
    } else {
        usize::try_from(args.limit)?
    };
    let mut items = Vec::new();
    let mut next = args.cursor.clone();
    loop {
        let limit = PAGE.min(wanted - items.len());
        let page = session
            .clusters(order, args.min_size, next.as_deref(), limit)
            .await?;
        items.extend(page.items);
        next = page.next;
        if next.is_none() || items.len() >= wanted {
            return Ok(ClusterList { items, next });
        }
    }
}

pub(crate) async fn show(args: ClusterArgs, context: Context) -> anyhow::Result<()> {
    let head = parse_id(args.head)?;
    let wanted = usize::try_from(args.limit)?;
    let cluster = with_session(&context, async |session| {
        let limit = |found: usize| PAGE.min(wanted - found);
        let mut cluster = session
            .cluster(&head, args.cursor.as_deref(), limit(0))
            .await?;
        while let Some(next) = cluster.next.take_if(|_| cluster.members.len() < wanted) {
            let page = session
                .cluster(&head, Some(&next), limit(cluster.members.len()))
                .await?;
            cluster.members.extend(page.members);
            cluster.next = page.next;
        }
        Ok(cluster)
    })
    .await?;
    context.output.show(&cluster, describe)
}

fn describe(cluster: &ClusterView) -> String {
    let mut table = Table::new(["score", "id", "name", "picture", "bytes", "joined"]);
    for member in &cluster.members {
        table.row([
            if member.exact_copy {
                "same".to_owned()
            } else {
                format!("{:.4}", member.score)
            },
            member.id.clone(),
            member.name.clone().unwrap_or_default(),
            format!("{}×{} {}", member.width, member.height, member.format),
            count(member.num_bytes),
            moment(member.joined_ms),
        ]);
    }
    format!(
        "{} images, head first\n{}",
        count(cluster.size),
        with_next(&table, cluster.next.as_deref())
    )
}
