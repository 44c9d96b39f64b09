//! Somebody who has nothing to do with it, and whose replies are to come as soon as ever.

use std::time::{Duration, Instant};

use tokio::task::JoinHandle;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::stage::ask;
use crate::faults::{Proof, Violation, ensure};
use crate::support::{Client, SOON};

/// How much longer a reply may take while others suffer. What it really comes to is in the reports: the test machine has
/// other things to do.
const FACTOR: u32 = 10;

/// The one in the middle may take so long in any case: what is waited for here takes a second at least, and other tests begin
/// and end.
const BUSY: Duration = Duration::from_millis(500);

/// And so long the slowest of a hundred: one pause of the machine is enough for that.
const PAUSE: Duration = Duration::from_secs(2);

/// Asks one thing after another.
pub(super) struct Bystander {
    end: CancellationToken,
    asking: JoinHandle<Proof<Times>>,
}

/// From sending a message to seeing its reply.
#[derive(Debug, Clone)]
pub(super) struct Times(Vec<Duration>);

impl Bystander {
    /// Asks this model this, until it is told to end.
    pub(super) fn asks(client: Client, text: &'static str, model: &'static str) -> Self {
        let end = CancellationToken::new();
        let asking = tokio::spawn(ask_on(client, text, model, end.clone()));
        Self { end, asking }
    }

    pub(super) async fn ends(self) -> Proof<Times> {
        self.end.cancel();
        self.asking.await.expect("a bystander that ends")
    }

    /// Asks for so long.
    pub(super) async fn asks_for(
        time: Duration,
        client: Client,
        text: &'static str,
        model: &'static str,
    ) -> Proof<Times> {
        let bystander = Self::asks(client, text, model);
        sleep(time).await;
        bystander.ends().await
    }
}

async fn ask_on(
    client: Client,
    text: &'static str,
    model: &'static str,
    end: CancellationToken,
) -> Proof<Times> {
    let conversation = client.conversation("nearby").await;
    let mut times = Vec::new();
    while times.is_empty() || !end.is_cancelled() {
        let began = Instant::now();
        let message = ask(&client, &conversation, text, model).await;
        let path = format!("/conversations/{conversation}/messages/{message}/reply");
        loop {
            let reply = client.get(&path).await.expect(200);
            match reply["status"].as_str() {
                Some("succeeded") => break,
                Some("queued" | "running") if began.elapsed() < SOON => {}
                _ => return Err(Violation(format!("slowed: {reply} after {:?}", began.elapsed()))),
            }
            sleep(Duration::from_millis(2)).await;
        }
        times.push(began.elapsed());
        sleep(Duration::from_millis(20)).await;
    }
    times.sort();
    Ok(Times(times))
}

impl Times {
    pub(super) fn median(&self) -> Duration {
        self.0[self.0.len() / 2]
    }

    pub(super) fn p99(&self) -> Duration {
        self.0[self.0.len() * 99 / 100]
    }

    /// In the middle and at the end they are what they were, give or take what a busy machine does.
    pub(super) fn are_as(&self, before: &Self) -> Proof<()> {
        for (name, now, then, most) in [
            (
                "median",
                self.median(),
                before.median(),
                (before.median() * FACTOR).max(BUSY),
            ),
            (
                "p99",
                self.p99(),
                before.p99(),
                (before.p99() * FACTOR).max(PAUSE),
            ),
        ] {
            ensure(now <= most, || {
                format!("slowed: the {name} was {then:?}, and is {now:?}")
            })?;
        }
        Ok(())
    }

    /// For people to read.
    pub(super) fn shown(&self) -> String {
        format!(
            "{} times, median {:?}, p99 {:?}",
            self.0.len(),
            self.median(),
            self.p99()
        )
    }
}
