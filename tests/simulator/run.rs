//! Playing a schedule: each step is carried out, and after each what readers see and what is committed is compared
//! with the source.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rowferry::format::Decoder;
use rowferry::kafka::describe::{CommitFacts, PartitionFacts, Presence, TopicFacts};
use rowferry::kafka::seek::{self, To};
use rowferry::ownership;
use rowferry::plan::route::Routes;
use rowferry::plan::write::Versioned;
use rowferry::plan::{Draft, guard};
use rowferry::record::TopicPartition;
use rowferry::version::Chain;
use rowferry::version::guard::Guard;
use tokio::runtime::Runtime;

use crate::cassandra::{Cluster, Poison};
use crate::check::{Broken, Reader};
use crate::process::{Process, lock};
use crate::schedule::{CommitFate, PROCESSES, Schedule, Step};
use crate::source::{Source, TOPIC};

/// Longer than any wait of the pipeline, so that one step ends them all whatever their jitter.
const ELAPSE: Duration = Duration::from_secs(31);
/// Rounds after the faults within which all must be done.
const ROUNDS_MAX: usize = 400;

/// What every schedule shares.
pub struct Bench {
    pub runtime: Runtime,
    /// Without and with the rewind guard; of the plain and of the moving table.
    pub routes: [[Arc<Routes>; 2]; 2],
    /// Whether the write times of the end are compared too, and not only the rows.
    pub write_times: bool,
}

/// The group as the broker has it.
struct Group {
    committed: (i64, String),
    owner: Option<usize>,
    generation: u64,
}

/// A schedule that is being played.
pub struct Run<'b> {
    bench: &'b Bench,
    routes: Arc<Routes>,
    source: Source,
    cluster: Arc<Mutex<Cluster>>,
    group: Group,
    processes: Vec<Process>,
    /// Dead letters by offset, with the versions that they say.
    letters: BTreeMap<i64, Vec<i64>>,
    reader: Reader,
    pub trace: Option<Vec<String>>,
}

impl<'b> Run<'b> {
    pub fn new(bench: &'b Bench, schedule: &Schedule) -> Run<'b> {
        let routes = bench.routes(schedule.table, schedule.guarded);
        let source = Source::new(schedule.table, schedule.guarded);
        let slots = source.histories.len();
        let cluster = Arc::new(Mutex::new(Cluster::new(slots)));
        let process = |index| Process::new(index, &routes, &cluster, schedule.batch_records_max);
        let processes = (0..PROCESSES).map(process).collect();
        let group = Group { committed: (0, Chain::START.save()), owner: None, generation: 0 };
        let reader = Reader::new(slots);
        let letters = BTreeMap::new();
        Run { bench, routes, source, cluster, group, processes, letters, reader, trace: None }
    }

    /// Plays it to the end, and then on without faults until all is done.
    pub fn play(&mut self, schedule: &Schedule) -> Result<(), Broken> {
        let _entered = self.bench.runtime.enter();
        for step in &schedule.steps {
            self.say(|| format!("{step:?}"));
            self.step(step)?;
            self.check()?;
        }
        self.say(|| "the faults end".into());
        self.finish()?;
        self.reader.end(&self.source, &lock(&self.cluster), self.bench.write_times)?;
        self.redrive();
        self.reader.whole(&self.source, &lock(&self.cluster))
    }

    fn step(&mut self, step: &Step) -> Result<(), Broken> {
        match *step {
            Step::Change { id, alteration, stamp, poison, early } => {
                let offset = self.source.end;
                self.source.change(id, alteration, stamp, poison, early);
                self.poison(offset);
            }
            Step::Snapshot { ids } => self.source.snapshot(ids),
            Step::ConnectorCrash { events } => {
                let offset = self.source.end;
                self.source.crash(events);
                self.poison(offset);
            }
            Step::Junk => self.source.junk(),
            Step::Gap => self.source.gap(),
            Step::Clock { by_ms } => self.source.now_ms += by_ms,
            Step::Work { process, records } => self.work(process, records)?,
            Step::Assign { process } => self.assign(process),
            Step::Fetch { process, records } => {
                self.fetch(process, records);
                self.poll(process);
            }
            Step::Poll { process } => self.poll(process),
            Step::Letters { process, taken } => self.answer_letters(process, taken),
            Step::Commit { process, fate } => self.commit(process, fate)?,
            Step::Elapse => self.elapse(),
            Step::Deliver { count, pick, answers } => {
                (0..count)
                    .for_each(|at| lock(&self.cluster).deliver(pick.wrapping_mul(7).wrapping_add(at * 5), answers));
            }
            Step::Lose { pick } => lock(&self.cluster).lose(pick),
            Step::TimeOut { process } => {
                lock(&self.cluster).time_out(process);
                self.poll(process);
            }
            Step::Kill { process } => self.kill(process),
            Step::Start { process } => self.start(process),
            Step::Revoke { process, ends } => self.revoke(process, ends)?,
            Step::CutOff { process } => self.cut_off(process),
            Step::Reconnect { process } => self.reconnect(process),
            Step::SetBack { to } => self.set_back(to)?,
            Step::Refill { cut_off } => self.refill(cut_off)?,
        }
        Ok(())
    }

    /// The records behind an offset that the server refuses.
    fn poison(&mut self, offset: i64) {
        let entries = &self.source.log[self.source.index_of(offset)..];
        let poison = entries.iter().filter(|entry| entry.poison);
        let poison = poison.map(|entry| Poison { offset: entry.record.offset, hidden: entry.hidden });
        lock(&self.cluster).poison.extend(poison);
    }

    fn work(&mut self, process: usize, records: usize) -> Result<(), Broken> {
        self.assign(process);
        self.fetch(process, records);
        for _ in 0..2 {
            self.poll(process);
            self.answer_letters(process, true);
            let arriving = lock(&self.cluster).in_flight();
            (0..arriving).for_each(|_| lock(&self.cluster).deliver(0, true));
        }
        self.poll(process);
        self.commit(process, CommitFate::Taken)
    }

    /// The group gives the partition to a member, if nobody has it.
    fn assign(&mut self, process: usize) {
        let member = &mut self.processes[process];
        if self.group.owner.is_some() || !member.connected || member.is_owner() {
            return;
        }
        let (next_offset, saved) = &self.group.committed;
        match ownership::start(Some(*next_offset), || Chain::load(saved), true, 0, self.source.end) {
            Ok((next_offset, chain)) => {
                self.group.generation += 1;
                self.group.owner = Some(process);
                member.refused = None;
                member.assigned(self.group.generation, next_offset, chain);
                let text = format!("  {} begins at {next_offset} with {saved}", member.name());
                self.say(|| text);
            }
            Err(why) => {
                member.refused = Some(format!("{why:?}"));
                self.say(|| format!("  it cannot begin: {why:?}"));
            }
        }
    }

    fn fetch(&mut self, process: usize, records: usize) {
        let member = &mut self.processes[process];
        let (true, Some(owned)) = (member.connected, &mut member.owned) else { return };
        let entries = &self.source.log[self.source.index_of(owned.fetch_offset)..];
        let taken: Vec<_> = entries.iter().take(records).map(|entry| entry.record.clone()).collect();
        if let Some(next_offset) = taken.last().map(|record| record.offset + 1)
            && owned.worker.hand_over(taken)
        {
            owned.fetch_offset = next_offset;
        }
    }

    fn poll(&mut self, process: usize) {
        self.processes[process].poll(self.source.now_ms);
    }

    fn answer_letters(&mut self, process: usize, taken: bool) {
        while let Ok(request) = self.processes[process].letters.try_recv() {
            if taken {
                let offset = request.letter.record.offset;
                self.letters.entry(offset).or_default().extend(request.letter.version);
            }
            // Who asked may be gone.
            let _ = request.answer.send(if taken { Ok(()) } else { Err("the topic is away".into()) });
        }
        self.poll(process);
    }

    fn commit(&mut self, process: usize, fate: CommitFate) -> Result<(), Broken> {
        let member = &mut self.processes[process];
        member.listen();
        let connected = member.connected;
        let Some(owned) = &mut member.owned else { return Ok(()) };
        let Some((next_offset, chain)) = owned.tenure.pending() else { return Ok(()) };
        let fenced = self.group.owner != Some(process) || self.group.generation != owned.generation;
        if !connected || fenced || fate == CommitFate::NotTaken {
            return Ok(());
        }
        if fate == CommitFate::Taken {
            owned.tenure.committed(next_offset);
        }
        let saved = chain.map_or_else(String::new, |chain| chain.save());
        let text = format!("  {} commits {next_offset} {saved}", member.name());
        self.say(|| text);
        self.group.committed = (next_offset, saved);
        self.reader.position(next_offset, &self.source, &self.letters, &lock(&self.cluster))
    }

    fn elapse(&mut self) {
        self.bench.runtime.block_on(tokio::time::advance(ELAPSE));
        (0..PROCESSES).for_each(|process| self.poll(process));
    }

    fn kill(&mut self, process: usize) {
        self.processes[process].die();
        if self.group.owner == Some(process) {
            self.group.owner = None;
        }
    }

    fn start(&mut self, process: usize) {
        let member = &mut self.processes[process];
        if !member.alive {
            (member.alive, member.connected) = (true, true);
        }
    }

    /// The partition is taken from its owner, who is asked first: it may finish what it is writing, or not in time.
    fn revoke(&mut self, process: usize, ends: bool) -> Result<(), Broken> {
        let member = &mut self.processes[process];
        let (true, Some(owned)) = (member.connected, &mut member.owned) else { return Ok(()) };
        owned.worker.revoke();
        if ends {
            let arriving = lock(&self.cluster).in_flight();
            (0..arriving).for_each(|_| lock(&self.cluster).deliver(0, true));
        }
        owned.worker.poll();
        self.commit(process, CommitFate::Taken)?;
        self.let_go(process);
        if self.group.owner == Some(process) {
            self.group.owner = None;
        }
        Ok(())
    }

    /// The worker of an assignment that is over; one that has not ended is ended later.
    fn let_go(&mut self, process: usize) {
        let member = &mut self.processes[process];
        if let Some(owned) = member.owned.take() {
            owned.worker.revoke();
            member.former.push(owned.worker);
        }
    }

    /// The process is cut off from Kafka, not from the cluster: the group does without it, and it does not know.
    fn cut_off(&mut self, process: usize) {
        let member = &mut self.processes[process];
        if member.connected {
            member.connected = false;
            if self.group.owner == Some(process) {
                self.group.owner = None;
            }
        }
    }

    /// It hears that its partitions are lost, ends their workers, commits nothing, and is a member again.
    fn reconnect(&mut self, process: usize) {
        let member = &mut self.processes[process];
        if member.alive && !member.connected {
            member.connected = true;
            self.let_go(process);
        }
    }

    /// The operator stops every member, moves the group back and starts them again. Who is cut off is not seen. Tables
    /// that are being filled again are filled from the beginning: their rows have nothing of what lies before.
    fn set_back(&mut self, to: usize) -> Result<(), Broken> {
        // With the guard it may go nowhere else.
        if self.reader.is_filling() || self.source.is_guarded() {
            return self.seek(To::Beginning);
        }
        let to = i64::try_from(to).unwrap_or(0) % (self.group.committed.0 + 1);
        self.seek(To::Offset(to))
    }

    fn seek(&mut self, to: To) -> Result<(), Broken> {
        let members: Vec<usize> = (0..PROCESSES).filter(|process| self.processes[*process].connected).collect();
        for process in &members {
            self.revoke(*process, true)?;
            self.kill(*process);
        }
        let (next_offset, saved) = self.group.committed.clone();
        let commit = Some(CommitFacts { next_offset, metadata: Some(saved) });
        let facts = PartitionFacts { number: 0, range: Some((0, self.source.end)), commit };
        let (name, presence, id, replicas, settings) = (TOPIC.into(), Presence::There, None, 3, None);
        let topic = TopicFacts { name, presence, id, partitions: vec![facts.clone()], replicas, settings };
        if let Ok(moved) = seek::plan(&topic, &facts, &BTreeMap::new(), to, false, 0) {
            self.group.committed = (moved.to, moved.chain.save());
            let committed = self.group.committed.clone();
            self.say(|| format!("  the group stands at {committed:?}"));
        }
        members.into_iter().for_each(|process| self.start(process));
        Ok(())
    }

    /// The operator has lost the tables, and fills them again from the beginning of the topic.
    fn refill(&mut self, cut_off: Option<usize>) -> Result<(), Broken> {
        cut_off.into_iter().for_each(|process| self.cut_off(process));
        self.seek(To::Beginning)?;
        lock(&self.cluster).empty();
        self.begin_anew();
        cut_off.into_iter().for_each(|process| self.reconnect(process));
        Ok(())
    }

    /// Readers are not promised anything until the group is past all that is in the topic now.
    fn begin_anew(&mut self) {
        for process in &mut self.processes {
            let owned = process.owned.iter_mut().map(|owned| &mut owned.worker);
            owned.chain(&mut process.former).for_each(|worker| worker.outlived = true);
        }
        self.reader.begin_anew(self.source.end);
    }

    fn check(&mut self) -> Result<(), Broken> {
        let mut cluster = lock(&self.cluster);
        let dirty = std::mem::take(&mut cluster.dirty);
        self.reader.look(&self.source, &cluster, &dirty)?;
        for process in &self.processes {
            let workers = process.owned.iter().map(|owned| &owned.worker).chain(&process.former);
            for worker in workers.filter(|worker| !worker.outlived) {
                let next_offset = worker.progress.borrow().next_offset;
                self.reader.position(next_offset, &self.source, &self.letters, &cluster)?;
            }
        }
        Ok(())
    }

    /// No more faults: everybody comes back, everything arrives, every letter and commit is taken.
    fn finish(&mut self) -> Result<(), Broken> {
        for process in 0..PROCESSES {
            self.start(process);
            self.reconnect(process);
        }
        for round in 0..ROUNDS_MAX {
            if self.group.committed.0 >= self.source.log.last().map_or(0, |last| last.record.offset + 1) {
                // What was still on its way lands last.
                let late = lock(&self.cluster).in_flight();
                (0..late).for_each(|_| lock(&self.cluster).deliver(0, true));
                return self.check();
            }
            (0..PROCESSES).for_each(|process| self.assign(process));
            let owner = self.group.owner.unwrap_or(0);
            self.work(owner, 8)?;
            self.check()?;
            let waits = |process: &Process| process.owned.as_ref().is_some_and(|owned| owned.worker.waits());
            if self.processes.iter().any(waits) || round % 50 == 49 {
                lock(&self.cluster).time_out(owner);
                self.elapse();
            }
        }
        let refused = self.processes.iter().find_map(|process| process.refused.clone());
        Err(Broken::stuck(self.group.committed.0, refused))
    }

    /// The operator has mended what refused records, and sends each once more with the version that it had.
    fn redrive(&mut self) {
        let mut cluster = lock(&self.cluster);
        for (offset, versions) in &self.letters {
            let entry = &self.source.log[self.source.index_of(*offset)];
            let version = versions.iter().max().copied().expect("a letter has a version");
            let partition = TopicPartition { topic: TOPIC.into(), partition: 0 };
            let mut draft = Draft::new(self.routes.clone(), partition, *offset);
            let mut decoder = Decoder::new(&self.routes.topics[0].shape, 1 << 20);
            let versioned = Versioned::new(entry.record.clone(), version);
            draft.push(versioned, |versioned| {
                let decoded = decoder.decode(&versioned.record);
                versioned.standing = { Guard::REDRIVEN }.stand(versioned.record.key.as_deref(), &decoded).0;
                decoded
            });
            let mut batch = draft.take();
            let asked = guard::asked(&self.routes, &batch);
            let stored = asked.iter().map(|at| cluster.stored(&self.routes, &batch.writes[*at])).collect();
            guard::settle(&self.routes, &mut batch, &asked, stored);
            batch.writes.iter().for_each(|write| cluster.write(&self.routes, write));
        }
    }

    fn say(&mut self, text: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            trace.push(text());
        }
    }
}
