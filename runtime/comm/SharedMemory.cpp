// SharedMemory.cpp: see SharedMemory.h.
#include "comm/SharedMemory.h"

#include "comm/Patience.h"
#include "core/Error.h"
#include "galvatron_rt.h"

#include <algorithm>
#include <cstring>
#include <deque>
#include <functional>
#include <linux/futex.h>
#include <poll.h>
#include <sched.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

namespace galvatron_rt {
namespace {

/// Sleeps until `word` is woken or no longer has `value`, at most for `seconds`. Works between
/// processes.
void sleepWhile(std::atomic<uint32_t> &word, uint32_t value, double seconds) {
  timespec limit;
  limit.tv_sec = static_cast<time_t>(seconds);
  limit.tv_nsec = static_cast<long>((seconds - static_cast<double>(limit.tv_sec)) * 1e9);
  syscall(SYS_futex, &word, FUTEX_WAIT, value, &limit, nullptr, 0);
}

void wakeAll(std::atomic<uint32_t> &word) {
  syscall(SYS_futex, &word, FUTEX_WAKE, INT32_MAX, nullptr, nullptr, 0);
}

template <typename T> void combine(T *into, const T *other, int64_t count, int64_t monoid) {
  switch (static_cast<galvatron_rt_monoid>(monoid)) {
  case GALVATRON_RT_MONOID_SUM:
    for (int64_t i = 0; i < count; ++i)
      into[i] += other[i];
    return;
  case GALVATRON_RT_MONOID_MAX: // a NaN stays one
    for (int64_t i = 0; i < count; ++i)
      into[i] = into[i] > other[i] || into[i] != into[i] ? into[i] : other[i];
    return;
  case GALVATRON_RT_MONOID_MIN:
    for (int64_t i = 0; i < count; ++i)
      into[i] = into[i] < other[i] || into[i] != into[i] ? into[i] : other[i];
    return;
  }
  __builtin_unreachable();
}

/// Whether a counter, which may have wrapped, has come to a number.
bool isAt(uint32_t value, uint32_t wanted) { return static_cast<int32_t>(value - wanted) >= 0; }

/// Makes it count one more, for whoever waits for that.
void countUp(std::atomic<uint32_t> &counter) {
  counter.store(counter.load(std::memory_order_relaxed) + 1, std::memory_order_release);
  wakeAll(counter);
}

} // namespace

class SharedMemoryCommunicator : public Communicator {
public:
  SharedMemoryCommunicator(SharedMemoryTransport &transport, int64_t group,
                           const std::vector<int64_t> &members)
      : transport(transport), group(group), members(members),
        arena(transport.arenas[static_cast<size_t>(transport.own)]) {
    for (int64_t member : members)
      peers.push_back(transport.arenas[static_cast<size_t>(member)]);
    index = std::find(members.begin(), members.end(), transport.own) - members.begin();
    transport.communicators.push_back(this);
  }
  ~SharedMemoryCommunicator() override {
    auto &all = transport.communicators;
    all.erase(std::find(all.begin(), all.end(), this));
    transport.unfinished -= static_cast<int64_t>(unfinished.size());
  }

  void start(const Collective &collective) override {
    begin({collective.what(), collective.name, collective.out},
          [this, collective] { doShare(collective); });
  }

  void complete(const void *out) override {
    auto found = std::find_if(underway.begin(), underway.end(),
                              [&](const Underway &other) { return other.out == out; });
    complete(*found);
    underway.erase(found);
  }

  int64_t largest(CollectiveName name, int64_t value) override {
    word(transport.own).store(value, std::memory_order_relaxed);
    int64_t all = value;
    complete(begin({"agreement", name, nullptr}, [this, &all] {
      for (int64_t member : members)
        all = std::max(all, word(member).load(std::memory_order_relaxed));
    }));
    underway.pop_back();
    return all;
  }

  /// Does this rank's shares of what all members have started.
  void advance() {
    while (!unfinished.empty() && haveAllStarted(done().load(std::memory_order_relaxed) + 1)) {
      unfinished.front()();
      unfinished.pop_front();
      --transport.unfinished;
      countUp(done());
    }
  }

private:
  /// What was started and not completed yet.
  struct Underway {
    const char *what;
    CollectiveName name;
    const void *out;
    uint32_t number = 0; // among those of the group, from 1
  };

  /// `share` is what this rank does when all members have started.
  Underway &begin(Underway collective, std::function<void()> share) {
    std::atomic<uint32_t> &own = started(transport.own);
    unfinished.push_back(std::move(share));
    ++transport.unfinished;
    collective.number = own.load(std::memory_order_relaxed) + 1;
    countUp(own);
    return underway.emplace_back(collective);
  }

  void complete(const Underway &collective) {
    for (int64_t member : members)
      transport.await(started(member), collective.number, member,
                      [&] { return missing("come to", collective); });
    advance();
    for (int64_t member : members)
      transport.await(transport.block.done(transport.sizes, group, member), collective.number, member,
                      [&] { return missing("do its part of", collective); });
  }

  static std::string missing(const char *verb, const Underway &collective) {
    return concat(verb, " the ", collective.what, " of '", collective.name.value, "' over ",
                  collective.name.axes);
  }

  std::atomic<uint32_t> &started(int64_t member) const {
    return transport.block.started(transport.sizes, group, member);
  }
  std::atomic<uint32_t> &done() const {
    return transport.block.done(transport.sizes, group, transport.own);
  }
  std::atomic<int64_t> &word(int64_t member) const {
    return transport.block.word(transport.sizes, group, member);
  }
  bool haveAllStarted(uint32_t number) const {
    return std::all_of(members.begin(), members.end(), [&](int64_t member) {
      return isAt(started(member).load(std::memory_order_acquire), number);
    });
  }

  /// What `own`, in this rank's arena, is in that of member `i`.
  template <typename T> T *at(size_t i, T *own) const {
    return reinterpret_cast<T *>(peers[i] + (reinterpret_cast<const char *>(own) - arena));
  }

  void doShare(const Collective &c) const {
    if (c.kind == Collective::Kind::AllGather)
      for (size_t i = 0; i < peers.size(); ++i)
        std::memcpy(static_cast<char *>(c.out) + static_cast<int64_t>(i) * c.count, at(i, static_cast<const char *>(c.in)),
                    static_cast<size_t>(c.count));
    else if (c.dtype == GALVATRON_RT_I64)
      reduceShare(static_cast<const int64_t *>(c.in), static_cast<int64_t *>(c.out), c.count, c.monoid);
    else
      reduceShare(static_cast<const float *>(c.in), static_cast<float *>(c.out), c.count, c.monoid);
  }

  /// Combines this member's share of the elements, and gives them to all.
  template <typename T>
  void reduceShare(const T *in, T *out, int64_t count, int64_t monoid) const {
    // Whole cache lines, so that no two members write one.
    constexpr int64_t line = 64 / sizeof(T), blockSize = 2048;
    int64_t lines = (count + line - 1) / line, n = static_cast<int64_t>(peers.size());
    int64_t begin = lines * index / n * line;
    int64_t end = std::min(count, lines * (index + 1) / n * line);
    T sum[blockSize];
    for (int64_t first = begin; first < end; first += blockSize) {
      int64_t size = std::min(blockSize, end - first);
      std::copy_n(at(0, in) + first, size, sum);
      for (size_t i = 1; i < peers.size(); ++i)
        combine(sum, at(i, in) + first, size, monoid);
      for (size_t i = 0; i < peers.size(); ++i)
        std::copy_n(sum, size, at(i, out) + first);
    }
  }

  SharedMemoryTransport &transport;
  int64_t group;
  std::vector<int64_t> members;
  std::vector<char *> peers; // the members' arenas
  int64_t index;             // this rank's among the members
  char *arena;
  std::deque<Underway> underway;
  std::deque<std::function<void()>> unfinished; // shares, in the order of starting
};

class SharedMemoryChannel : public Channel {
public:
  SharedMemoryChannel(SharedMemoryTransport &transport, int64_t peer, int64_t stage)
      : transport(transport), block(transport.block), sizes(transport.sizes), own(transport.own),
        peer(peer), stage(stage), ownStage(own * sizes.stages / sizes.ranks),
        arena(transport.arenas[static_cast<size_t>(own)]),
        peerArena(transport.arenas[static_cast<size_t>(peer)]) {}

  void send(const char *name, const void *data, int64_t) override {
    std::atomic<uint32_t> &sent = block.sent(sizes, own, stage);
    uint32_t number = sent.load(std::memory_order_relaxed);
    if (static_cast<int64_t>(number - waited) >= sizes.maxSent)
      // untested: the compiler counts the messages of its tables
      galvatron_rt::fail("'", name, "' is one message too many for rank ", peer);
    block.place(sizes, own, stage, number) = static_cast<const char *>(data) - arena;
    countUp(sent);
  }

  void waitSent(const char *name) override {
    transport.await(block.received(sizes, own, stage), waited + 1, peer,
                    [&] { return concat("receive '", name, "'"); });
    ++waited;
  }

  void receive(const char *name, void *data, int64_t bytes) override {
    std::atomic<uint32_t> &received = block.received(sizes, peer, ownStage);
    uint32_t number = received.load(std::memory_order_relaxed);
    transport.await(block.sent(sizes, peer, ownStage), number + 1, peer,
                    [&] { return concat("send '", name, "'"); });
    std::memcpy(data, peerArena + block.place(sizes, peer, ownStage, number),
                static_cast<size_t>(bytes));
    countUp(received);
  }

private:
  SharedMemoryTransport &transport;
  SharedBlock &block;
  BlockSizes sizes;
  int64_t own, peer;
  int64_t stage, ownStage; // of the peer, of this rank
  char *arena, *peerArena;
  uint32_t waited = 0; // messages
};

size_t SharedBlock::bytes(const BlockSizes &sizes) {
  int64_t channels = sizes.ranks * sizes.stages;
  return sizeof(SharedBlock) +
         static_cast<size_t>(messageCounter(sizes, sizes.ranks, 0)) * sizeof(Counter) +
         static_cast<size_t>(channels * sizes.maxSent) * sizeof(int64_t);
}

bool SharedBlock::fail(int64_t rank, const std::string &message) {
  uint32_t fine = Fine;
  if (state.compare_exchange_strong(fine, Failing)) {
    failedRank = rank;
    std::strncpy(text, message.c_str(), sizeof(text) - 1);
    state.store(Failed, std::memory_order_release);
    return false;
  }
  // The other one may be about to write its message; not for long, or never if it has been killed.
  for (int i = 0; i < 1000 && !failed(); ++i)
    sched_yield();
  return failed() && failedRank != rank && std::strncmp(text, message.c_str(), sizeof(text) - 1) == 0;
}

std::string SharedBlock::failure() const { return concat("rank ", failedRank, " failed: ", text); }

SharedMemoryTransport::SharedMemoryTransport(SharedBlock &block, const BlockSizes &sizes,
                                             int64_t rank, std::vector<char *> arenas,
                                             const std::vector<int64_t> &processes, double timeout)
    : block(block), sizes(sizes), own(rank), arenas(std::move(arenas)), timeout(timeout),
      // Longer than it takes to be woken, where each rank has a core; else too short to hold one that a peer needs.
      spins(sizes.ranks <= sysconf(_SC_NPROCESSORS_ONLN) ? 5000 : 200) {
  for (int64_t process : processes)
    this->processes.push_back(static_cast<int>(syscall(SYS_pidfd_open, process, 0)));
}

SharedMemoryTransport::~SharedMemoryTransport() {
  for (int process : processes)
    if (process >= 0)
      close(process);
}

/// Without such descriptors (Linux before 5.3) one that has ended is one that does not come.
bool SharedMemoryTransport::hasEnded(int64_t rank) const {
  int process = processes.empty() ? -1 : processes[static_cast<size_t>(rank)];
  pollfd poll{process, POLLIN, 0};
  return process >= 0 && ::poll(&poll, 1, 0) == 1;
}

template <typename Missing>
void SharedMemoryTransport::await(std::atomic<uint32_t> &counter, uint32_t wanted, int64_t rank,
                                  Missing missing) {
  // Seconds between looks at whether somebody has failed, and at other things that may be to do: no
  // counter that is not the one at hand wakes this rank.
  constexpr double slice = 0.1, busySlice = 0.001;
  Patience patience(timeout);
  for (int spin = 0;; ++spin) {
    uint32_t value = counter.load(std::memory_order_acquire);
    if (isAt(value, wanted))
      return;
    if (block.failed())
      throw PeerError(block.failure());
    progress();
    if (spin < spins) {
      __builtin_ia32_pause();
      continue;
    }
    double left = patience.left();
    if (hasEnded(rank) && !isAt(counter.load(std::memory_order_acquire), wanted))
      galvatron_rt::fail("rank ", rank, " has ended and did not ", missing());
    if (left <= 0)
      galvatron_rt::fail("rank ", rank, " did not ", missing(), " within ", timeout, " seconds");
    sleepWhile(counter, value, std::min(unfinished > 1 ? busySlice : slice, left));
  }
}

void SharedMemoryTransport::progress() {
  if (unfinished)
    for (SharedMemoryCommunicator *communicator : communicators)
      communicator->advance();
}

std::unique_ptr<Communicator>
SharedMemoryTransport::connect(int64_t group, const std::vector<int64_t> &members) {
  return std::make_unique<SharedMemoryCommunicator>(*this, group, members);
}

std::unique_ptr<Channel> SharedMemoryTransport::open(int64_t peer, int64_t stage) {
  return std::make_unique<SharedMemoryChannel>(*this, peer, stage);
}

} // namespace galvatron_rt
