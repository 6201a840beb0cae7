//! Whose query runs next: so many at once, so many of them of one tenant, and of those who wait every
//! tenant in turn, so that one with hundreds of queries keeps another waiting for one of them at most.
//!
//! A request for several tenants at once stands in a line of its own, under all their names.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::oneshot;
use traceql_blocks::bucket::tenant::TenantId;

/// Lines that may be full at the same time: tenants are named by requests, so there could be any
/// number of them.
const FULL_LINES: usize = 16;

/// Turns for queries.
#[derive(Clone, Debug)]
pub(crate) struct Queue {
    state: Arc<Mutex<State>>,
    bounds: Bounds,
}

/// How many queries run and wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// Most that run at once.
    pub(crate) running: usize,
    /// Most of one tenant that run at once.
    pub(crate) running_of_tenant: usize,
    /// Most of one tenant that wait.
    pub(crate) waiting_of_tenant: usize,
}

/// Too many queries wait already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full;

/// What a queue looks like at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Waiting {
    pub(crate) running: usize,
    pub(crate) waiting: usize,
    /// Tenants that wait.
    pub(crate) tenants: usize,
    /// Queries refused so far.
    pub(crate) refused: u64,
}

#[derive(Debug, Default)]
struct State {
    lines: HashMap<Arc<str>, Line>,
    /// Tenants who wait, the next one first; each is here once.
    order: VecDeque<Arc<str>>,
    running: usize,
    waiting: usize,
    refused: u64,
    next_ticket: u64,
}

/// The queries of a tenant; there is none where nothing runs and nothing waits.
#[derive(Debug, Default)]
struct Line {
    running: usize,
    waiting: VecDeque<(u64, oneshot::Sender<()>)>,
}

/// A query's turn; dropping it gives it to the next.
#[derive(Debug)]
pub(crate) struct Turn {
    queue: Queue,
    tenant: Arc<str>,
}

/// A place in a line; dropping it leaves the line.
struct Place {
    queue: Queue,
    tenant: Arc<str>,
    ticket: u64,
    called: oneshot::Receiver<()>,
    is_over: bool,
}

impl Queue {
    pub(crate) fn new(bounds: Bounds) -> Self {
        let at_least_one = Bounds {
            running: bounds.running.max(1),
            running_of_tenant: bounds.running_of_tenant.max(1),
            ..bounds
        };
        Self { state: Arc::default(), bounds: at_least_one }
    }

    /// Waits for a turn, which lasts until it is dropped. Giving up waiting gives up the place.
    pub(crate) async fn turn(&self, tenants: &[TenantId]) -> Result<Turn, Full> {
        let names: Vec<&str> = tenants.iter().map(TenantId::as_str).collect();
        let mut place = match self.enter(names.join("|").into())? {
            Entered::Called(turn) => return Ok(turn),
            Entered::Waits(place) => place,
        };
        // The sender is dropped only with the whole line, which this place keeps.
        let _called = (&mut place.called).await;
        place.is_over = true;
        Ok(Turn { queue: self.clone(), tenant: Arc::clone(&place.tenant) })
    }

    /// How things stand.
    pub(crate) fn waiting(&self) -> Waiting {
        let state = self.state.lock();
        let State { running, waiting, refused, .. } = *state;
        Waiting { running, waiting, tenants: state.order.len(), refused }
    }

    fn enter(&self, tenant: Arc<str>) -> Result<Entered, Full> {
        let Bounds { running, running_of_tenant, waiting_of_tenant } = self.bounds;
        let mut guard = self.state.lock();
        let state = &mut *guard;
        let line = state.lines.entry(Arc::clone(&tenant)).or_default();
        // Whoever waits may not be overtaken; but those who wait for a tenant's own bound hold up
        // nobody else.
        if state.running < running && line.running < running_of_tenant {
            line.running += 1;
            state.running += 1;
            return Ok(Entered::Called(Turn { queue: self.clone(), tenant }));
        }
        let is_full = line.waiting.len() >= waiting_of_tenant
            || state.waiting >= waiting_of_tenant.saturating_mul(FULL_LINES);
        if is_full {
            state.refused += 1;
            state.forget_if_idle(&tenant);
            return Err(Full);
        }
        let (call, called) = oneshot::channel();
        if line.waiting.is_empty() {
            state.order.push_back(Arc::clone(&tenant));
        }
        let ticket = state.next_ticket;
        state.next_ticket += 1;
        state.waiting += 1;
        line.waiting.push_back((ticket, call));
        drop(guard);
        Ok(Entered::Waits(Place { queue: self.clone(), tenant, ticket, called, is_over: false }))
    }

    /// Ends a turn and calls whoever may run now.
    fn end_turn(&self, tenant: &Arc<str>) {
        let mut state = self.state.lock();
        state.running -= 1;
        if let Some(line) = state.lines.get_mut(tenant) {
            line.running -= 1;
        }
        state.forget_if_idle(tenant);
        state.call(&self.bounds);
    }
}

enum Entered {
    Called(Turn),
    Waits(Place),
}

impl State {
    /// Calls those who may run, each tenant once before any is called again.
    fn call(&mut self, bounds: &Bounds) {
        let mut looked_at = 0;
        while self.running < bounds.running && looked_at < self.order.len() {
            let Some(tenant) = self.order.pop_front() else { return };
            let Some(line) = self.lines.get_mut(&tenant) else { continue };
            if line.running >= bounds.running_of_tenant {
                self.order.push_back(tenant);
                looked_at += 1;
                continue;
            }
            let Some((_, call)) = line.waiting.pop_front() else { continue };
            self.waiting -= 1;
            // Its place gives the turn back if nobody takes it.
            line.running += 1;
            self.running += 1;
            looked_at = 0;
            if !line.waiting.is_empty() {
                self.order.push_back(tenant);
            }
            let _gone = call.send(());
        }
    }

    fn forget_if_idle(&mut self, tenant: &Arc<str>) {
        if self.lines.get(tenant).is_some_and(|l| l.running == 0 && l.waiting.is_empty()) {
            self.lines.remove(tenant);
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.queue.end_turn(&self.tenant);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        let mut state = self.queue.state.lock();
        let line = state.lines.get_mut(&self.tenant);
        let at = line.and_then(|line| {
            let at = line.waiting.iter().position(|(ticket, _)| *ticket == self.ticket)?;
            line.waiting.remove(at);
            Some(line.waiting.is_empty())
        });
        match at {
            Some(is_empty) => {
                state.waiting -= 1;
                if is_empty {
                    state.order.retain(|tenant| *tenant != self.tenant);
                }
                state.forget_if_idle(&self.tenant);
            }
            // It was called between the last look and now.
            None => {
                drop(state);
                self.queue.end_turn(&self.tenant);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { running: 1, running_of_tenant: 1, waiting_of_tenant: 100 };

    fn tenant(name: &str) -> [TenantId; 1] {
        [TenantId::parse(name).unwrap()]
    }

    /// A task that waits for a turn, once it waits.
    async fn waits(queue: &Queue, name: &str) -> tokio::task::JoinHandle<Result<Turn, Full>> {
        let before = queue.waiting().waiting;
        let (of_task, name) = (queue.clone(), tenant(name));
        let task = tokio::spawn(async move { of_task.turn(&name).await });
        while queue.waiting().waiting == before {
            tokio::task::yield_now().await;
        }
        task
    }

    /// Lets as many run to their ends as there are, in the order in which they are called.
    async fn order(
        queue: &Queue,
        first: Turn,
        mut tasks: Vec<(&'static str, tokio::task::JoinHandle<Result<Turn, Full>>)>,
    ) -> String {
        let mut order = String::new();
        let mut turn = Some(first);
        while !tasks.is_empty() {
            drop(turn.take());
            let at = loop {
                tokio::task::yield_now().await;
                if let Some(at) = tasks.iter().position(|(_, task)| task.is_finished()) {
                    break at;
                }
            };
            let (name, task) = tasks.remove(at);
            order.push_str(name);
            turn = Some(task.await.unwrap().unwrap());
            assert_eq!(queue.waiting().running, 1);
        }
        order
    }

    #[tokio::test]
    async fn tenants_take_turns() {
        let queue = Queue::new(BOUNDS);
        let first = queue.turn(&tenant("a")).await.unwrap();
        let mut tasks = Vec::new();
        for name in ["a", "a", "a", "a", "b", "c", "b"] {
            tasks.push((name, waits(&queue, name).await));
        }
        assert_eq!(queue.waiting(), Waiting { running: 1, waiting: 7, tenants: 3, refused: 0 });
        assert_eq!(order(&queue, first, tasks).await, "abcabaa");
        assert_eq!(queue.waiting(), Waiting::default());
        assert!(queue.state.lock().lines.is_empty(), "nothing is left of tenants that are gone");
    }

    #[tokio::test]
    async fn a_tenant_has_so_many_at_once() {
        let queue = Queue::new(Bounds { running: 3, running_of_tenant: 2, ..BOUNDS });
        let of_a =
            [queue.turn(&tenant("a")).await.unwrap(), queue.turn(&tenant("a")).await.unwrap()];
        let third = waits(&queue, "a").await;
        // There is room for another, though `a` waits.
        let of_b = queue.turn(&tenant("b")).await.unwrap();
        let second_of_b = waits(&queue, "b").await;
        drop(of_b);
        let of_b = second_of_b.await.unwrap().unwrap();
        assert!(!third.is_finished());
        let [first, second] = of_a;
        drop(first);
        let third = third.await.unwrap().unwrap();
        drop((second, third, of_b));
        assert_eq!(queue.waiting(), Waiting::default());
    }

    #[tokio::test]
    async fn a_line_is_bounded_and_places_come_back() {
        let queue = Queue::new(Bounds { waiting_of_tenant: 1, ..BOUNDS });
        let first = queue.turn(&tenant("a")).await.unwrap();
        let second = waits(&queue, "a").await;
        assert_eq!(queue.turn(&tenant("a")).await.err(), Some(Full));
        assert_eq!(queue.waiting().refused, 1);
        let other = waits(&queue, "b").await;
        drop(first);
        let second = second.await.unwrap().unwrap();
        assert_eq!(queue.waiting().waiting, 1);
        other.abort();
        assert!(other.await.unwrap_err().is_cancelled());
        assert_eq!(queue.waiting().waiting, 0);
        drop(second);
        assert_eq!(queue.waiting(), Waiting { refused: 1, ..Waiting::default() });
        // Names that nobody has bounded make no lines beyond so many.
        let first = queue.turn(&tenant("a")).await.unwrap();
        let mut waiting = Vec::new();
        for n in 0..FULL_LINES {
            waiting.push(waits(&queue, &format!("t{n}")).await);
        }
        assert_eq!(queue.turn(&tenant("one-more")).await.err(), Some(Full));
        drop(first);
        for task in waiting {
            drop(task.await.unwrap().unwrap());
        }
        assert!(queue.state.lock().lines.is_empty());
    }

    #[tokio::test]
    async fn a_turn_nobody_takes_goes_to_the_next() {
        let queue = Queue::new(BOUNDS);
        let first = queue.turn(&tenant("a")).await.unwrap();
        let name = tenant("b");
        let mut gone = Box::pin(queue.turn(&name));
        assert!(futures::poll!(&mut gone).is_pending());
        let next = waits(&queue, "c").await;
        // `b` is called, and goes away before it looks.
        drop(first);
        assert_eq!(queue.waiting().waiting, 1);
        drop(gone);
        drop(next.await.unwrap().unwrap());
        assert_eq!(queue.waiting(), Waiting::default());
    }
}
