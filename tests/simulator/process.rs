//! A process of the consumer: the real pipeline over the simulated cluster, and around it what the poll thread does,
//! call by call, with the decisions of `rowferry::ownership`.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use rowferry::change::position::Stored;
use rowferry::change::{Reject, RejectClass};
use rowferry::ownership::{Epoch, Tenure};
use rowferry::pipeline::bounds::Bounds;
use rowferry::pipeline::breaker::BreakerLimits;
use rowferry::pipeline::reading::Said;
use rowferry::pipeline::reselect::ReselectRequest;
use rowferry::pipeline::{Assignment, DeadLetterRequest, Held, Limits, Pipeline, Progress, State, TopicEndsRequest};
use rowferry::plan::route::Routes;
use rowferry::plan::write::Batch;
use rowferry::record::{Record, TopicPartition};
use rowferry::sink::{Failure, Opened, Outcome, Retry, Sink};
use rowferry::version::Chain;
use tokio::sync::{mpsc, watch};

use crate::cassandra::{Answer, Cluster};
use crate::source::TOPIC;

/// The simulated cluster as the pipeline's sink, one for each process.
pub struct SimulatedSink {
    process: usize,
    routes: Arc<Routes>,
    cluster: Arc<Mutex<Cluster>>,
}

pub fn lock(cluster: &Mutex<Cluster>) -> MutexGuard<'_, Cluster> {
    cluster.lock().expect("nothing panics with it")
}

/// Why the server refuses a row.
pub fn poisoned() -> Reject {
    Reject::new(RejectClass::Refused, "poison")
}

impl Sink for SimulatedSink {
    type Partition = ();

    async fn open(&self, _: &TopicPartition, start_offset: i64, _: Option<&str>) -> Result<Opened<()>, Failure> {
        Ok(Opened { state: (), next_offset: start_offset })
    }

    async fn stored(&self, batch: &Batch, writes: &[usize]) -> Result<Vec<Option<Stored>>, Failure> {
        let mut cluster = lock(&self.cluster);
        Ok(writes.iter().map(|at| cluster.stored(&self.routes, &batch.writes[*at])).collect())
    }

    async fn write(&self, _: &mut (), batch: &Batch) -> Outcome {
        let id = lock(&self.cluster).submit(self.process, &self.routes, batch);
        let answer = poll_fn(|_| match lock(&self.cluster).answer(id) {
            Some(answer) => Poll::Ready(answer),
            None => Poll::Pending,
        });
        match answer.await {
            Answer::Durable => Outcome::Durable,
            Answer::Refused(refused) => Outcome::Rejected(refused),
            Answer::Unknown => Outcome::Retry(Retry {
                next_offset: batch.records.first().map_or(batch.next_offset, |first| first.record.offset),
                waiting_for: "the cluster".into(),
                parent: None,
            }),
        }
    }
}

/// The worker of one assignment, polled by hand.
pub struct Worker {
    running: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    chunks: mpsc::Sender<Vec<Record>>,
    held: Arc<Held>,
    pub progress: watch::Receiver<Progress>,
    revoke: watch::Sender<bool>,
    /// The table has been emptied since it began: what it finished is no longer there.
    pub outlived: bool,
}

/// The partition as its owner has it.
pub struct Owned {
    pub tenure: Tenure,
    /// The group's generation that it was assigned in.
    pub generation: u64,
    pub fetch_offset: i64,
    pub worker: Worker,
}

pub struct Process {
    index: usize,
    pub pipeline: Arc<Pipeline<SimulatedSink>>,
    pub letters: mpsc::Receiver<DeadLetterRequest>,
    _topic_ends: mpsc::Receiver<TopicEndsRequest>,
    _reselects: mpsc::Receiver<ReselectRequest>,
    pub alive: bool,
    /// The group has it for a member. One that is cut off does not know that yet.
    pub connected: bool,
    pub epoch: Epoch,
    /// What its clock is off by.
    pub skew_ms: i64,
    pub owned: Option<Owned>,
    /// Workers of former assignments that were not ended in time.
    pub former: Vec<Worker>,
    /// Why it could not begin.
    pub refused: Option<String>,
}

impl Process {
    pub fn new(index: usize, routes: &Arc<Routes>, cluster: &Arc<Mutex<Cluster>>, batch_records_max: usize) -> Process {
        let (dead_letters, letters) = mpsc::channel(8);
        let (topic_ends, _topic_ends) = mpsc::channel(1);
        let (reselects, _reselects) = mpsc::channel(1);
        let breaker = BreakerLimits { in_a_row_max: 0, per_minute_max: 0 };
        let limits = Limits { batch_records_max, batch_bytes_max: 1 << 20, record_bytes_max: 1 << 20, breaker };
        let sink = Arc::new(SimulatedSink { process: index, routes: routes.clone(), cluster: cluster.clone() });
        let (routes, said, bounds) = (routes.clone(), Said::default(), Bounds::default());
        let pipeline = Arc::new(Pipeline { sink, routes, limits, dead_letters, topic_ends, reselects, said, bounds });
        Process {
            index,
            pipeline,
            letters,
            _topic_ends,
            _reselects,
            alive: true,
            connected: true,
            epoch: 0,
            skew_ms: [0, 7_000][index % 2],
            owned: None,
            former: Vec::new(),
            refused: None,
        }
    }

    /// Given the partition: a new epoch, a new worker.
    pub fn assigned(&mut self, generation: u64, next_offset: i64, chain: Option<Chain>) {
        self.epoch += 1;
        let worker = Worker::start(&self.pipeline, self.epoch, next_offset, chain);
        let tenure = Tenure::begin(self.epoch, next_offset, chain);
        self.owned = Some(Owned { tenure, generation, fetch_offset: next_offset, worker });
    }

    /// The poll thread looks at what came back, from every worker that it ever started and that may still speak.
    pub fn listen(&mut self) {
        let Some(owned) = &mut self.owned else { return };
        for worker in std::iter::once(&owned.worker).chain(&self.former) {
            let progress = worker.progress.borrow();
            owned.tenure.report(progress.epoch, progress.next_offset, progress.chain);
        }
    }

    /// Everything that it runs goes on by one step.
    pub fn poll(&mut self, now_ms: i64) {
        let _clock = now_ms + self.skew_ms;
        #[cfg(feature = "mutations")]
        rowferry::mutation::set_clock(_clock);
        self.owned.iter_mut().for_each(|owned| owned.worker.poll());
        self.former.iter_mut().for_each(Worker::poll);
    }

    /// The process dies, and with it all that it had in memory.
    pub fn die(&mut self) {
        (self.alive, self.connected, self.owned, self.refused) = (false, false, None, None);
        self.former.clear();
        while self.letters.try_recv().is_ok() {}
    }

    pub fn is_owner(&self) -> bool {
        self.owned.is_some()
    }

    pub fn name(&self) -> char {
        char::from(b'A' + u8::try_from(self.index).unwrap_or(0))
    }
}

impl Worker {
    fn start(pipeline: &Arc<Pipeline<SimulatedSink>>, epoch: Epoch, start_offset: i64, chain: Option<Chain>) -> Worker {
        let (chunks, records) = mpsc::channel(4);
        let (revoke, revoked) = watch::channel(false);
        let (progress, seen) = watch::channel(Progress { epoch, ..Progress::at(start_offset, chain) });
        let held = Arc::new(Held::default());
        let partition = TopicPartition { topic: TOPIC.into(), partition: 0 };
        let given = Assignment {
            partition,
            start_offset,
            chain,
            topic_id: None,
            records,
            held: held.clone(),
            meters: Arc::default(),
            progress,
            revoked,
        };
        let running: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(pipeline.clone().run(given));
        Worker { running: Some(running), chunks, held, progress: seen, revoke, outlived: false }
    }

    pub fn poll(&mut self) {
        let mut context = Context::from_waker(Waker::noop());
        if let Some(running) = &mut self.running
            && running.as_mut().poll(&mut context).is_ready()
        {
            self.running = None;
        }
    }

    /// Hands over records, if there is a place for them.
    pub fn hand_over(&mut self, records: Vec<Record>) -> bool {
        let Ok(place) = self.chunks.try_reserve() else { return false };
        records.iter().for_each(|record| self.held.add(record));
        place.send(records);
        true
    }

    pub fn revoke(&self) {
        // Nobody listens when it has ended.
        let _ = self.revoke.send(true);
    }

    pub fn waits(&self) -> bool {
        self.running.is_some() && self.progress.borrow().state != State::Running
    }
}
