// SharedMemory.cpp: see SharedMemory.h.
#include "comm/SharedMemory.h"

#include "core/Clock.h"
#include "core/Error.h"
#include "galvatron_rt.h"

#include <algorithm>
#include <cstring>
#include <linux/futex.h>
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

/// Returns when the counter has come to `wanted`. Throws what `late` throws after `timeout` seconds.
template <typename Late>
void awaitCount(SharedBlock &block, std::atomic<uint32_t> &counter, uint32_t wanted, double timeout,
                Late late) {
  // Long enough for a peer that comes at the same time, too short to hold a core that it needs.
  constexpr int spins = 200;
  constexpr double slice = 0.1; // seconds between looks at whether somebody has failed
  double deadline = secondsNow() + timeout;
  for (int spin = 0;; ++spin) {
    uint32_t value = counter.load(std::memory_order_acquire);
    if (static_cast<int32_t>(value - wanted) >= 0)
      return;
    if (block.failed())
      throw PeerError(block.failure());
    if (spin < spins) {
      __builtin_ia32_pause();
      continue;
    }
    double left = deadline - secondsNow();
    if (left <= 0)
      late();
    sleepWhile(counter, value, std::min(slice, left));
  }
}

/// Makes it count one more, for whoever waits for that.
void countUp(std::atomic<uint32_t> &counter) {
  counter.store(counter.load(std::memory_order_relaxed) + 1, std::memory_order_release);
  wakeAll(counter);
}

class SharedMemoryCommunicator : public Communicator {
public:
  SharedMemoryCommunicator(SharedBlock &block, int64_t group, const BlockSizes &sizes,
                           const std::vector<int64_t> &members, int64_t rank,
                           const std::vector<char *> &arenas, double timeout)
      : block(block), group(group), sizes(sizes), members(members), arena(arenas[rank]),
        timeout(timeout) {
    for (int64_t member : members)
      peers.push_back(arenas[member]);
    index = std::find(members.begin(), members.end(), rank) - members.begin();
  }

  void allReduce(CollectiveName name, const void *in, void *out, int64_t count, int64_t dtype,
                 int64_t monoid) override {
    meet("all-reduce", name);
    if (dtype == GALVATRON_RT_I64)
      reduceShare(static_cast<const int64_t *>(in), static_cast<int64_t *>(out), count, monoid);
    else
      reduceShare(static_cast<const float *>(in), static_cast<float *>(out), count, monoid);
    meet("all-reduce", name);
  }

  void allGather(CollectiveName name, const void *in, void *out, int64_t bytes) override {
    meet("all-gather", name);
    for (size_t i = 0; i < peers.size(); ++i)
      std::memcpy(static_cast<char *>(out) + static_cast<int64_t>(i) * bytes, at(i, in),
                  static_cast<size_t>(bytes));
    meet("all-gather", name);
  }

  int64_t largest(CollectiveName name, int64_t value) override {
    int64_t own = members[static_cast<size_t>(index)];
    uint32_t meeting = block.meetings(sizes, group, own).load(std::memory_order_relaxed) + 1;
    block.word(sizes, group, own, meeting).store(value, std::memory_order_relaxed);
    meet("agreement", name);
    for (int64_t member : members)
      value = std::max(value, block.word(sizes, group, member, meeting).load(std::memory_order_relaxed));
    return value;
  }

private:
  /// What `own`, in this rank's arena, is in that of member `i`.
  template <typename T> T *at(size_t i, T *own) const {
    return reinterpret_cast<T *>(peers[i] + (reinterpret_cast<const char *>(own) - arena));
  }

  void meet(const char *what, CollectiveName name);

  /// Combines this member's share of the elements, and gives them to all.
  template <typename T>
  void reduceShare(const T *in, T *out, int64_t count, int64_t monoid) {
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

  SharedBlock &block;
  int64_t group;
  BlockSizes sizes;
  std::vector<int64_t> members;
  std::vector<char *> peers; // the members' arenas
  int64_t index;             // this rank's among the members
  char *arena;
  double timeout;
};

/// Returns when all members have come as often as this one.
void SharedMemoryCommunicator::meet(const char *what, CollectiveName name) {
  std::atomic<uint32_t> &own = block.meetings(sizes, group, members[static_cast<size_t>(index)]);
  countUp(own);
  uint32_t meeting = own.load(std::memory_order_relaxed);
  for (int64_t member : members)
    awaitCount(block, block.meetings(sizes, group, member), meeting, timeout, [&] {
      fail("rank ", member, " did not come to the ", what, " of '", name.value, "' over ",
           name.axes, " within ", timeout, " seconds");
    });
}

class SharedMemoryChannel : public Channel {
public:
  SharedMemoryChannel(SharedBlock &block, const BlockSizes &sizes, int64_t own, int64_t peer,
                      int64_t stage, const std::vector<char *> &arenas, double timeout)
      : block(block), sizes(sizes), own(own), peer(peer), stage(stage),
        ownStage(own * sizes.stages / sizes.ranks), arena(arenas[static_cast<size_t>(own)]),
        peerArena(arenas[static_cast<size_t>(peer)]), timeout(timeout) {}

  void send(const char *name, const void *data, int64_t) override {
    std::atomic<uint32_t> &sent = block.sent(sizes, own, stage);
    uint32_t number = sent.load(std::memory_order_relaxed);
    if (static_cast<int64_t>(number - waited) >= sizes.maxSent)
      // untested: the compiler counts the messages of its tables
      fail("'", name, "' is one message too many for rank ", peer);
    block.place(sizes, own, stage, number) = static_cast<const char *>(data) - arena;
    countUp(sent);
  }

  void waitSent(const char *name) override {
    awaitCount(block, block.received(sizes, own, stage), waited + 1, timeout, [&] {
      fail("rank ", peer, " did not receive '", name, "' within ", timeout, " seconds");
    });
    ++waited;
  }

  void receive(const char *name, void *data, int64_t bytes) override {
    std::atomic<uint32_t> &received = block.received(sizes, peer, ownStage);
    uint32_t number = received.load(std::memory_order_relaxed);
    awaitCount(block, block.sent(sizes, peer, ownStage), number + 1, timeout, [&] {
      fail("rank ", peer, " did not send '", name, "' within ", timeout, " seconds");
    });
    std::memcpy(data, peerArena + block.place(sizes, peer, ownStage, number),
                static_cast<size_t>(bytes));
    countUp(received);
  }

private:
  SharedBlock &block;
  BlockSizes sizes;
  int64_t own, peer;
  int64_t stage, ownStage; // of the peer, of this rank
  char *arena, *peerArena;
  double timeout;
  uint32_t waited = 0; // messages
};

} // namespace

size_t SharedBlock::bytes(const BlockSizes &sizes) {
  int64_t channels = sizes.ranks * sizes.stages;
  return sizeof(SharedBlock) +
         static_cast<size_t>(messageCounter(sizes, sizes.ranks, 0)) * sizeof(Counter) +
         static_cast<size_t>(channels * sizes.maxSent) * sizeof(int64_t);
}

void SharedBlock::fail(int64_t rank, const std::string &message) {
  uint32_t fine = Fine;
  if (!state.compare_exchange_strong(fine, Failing))
    return;
  failedRank = rank;
  std::strncpy(text, message.c_str(), sizeof(text) - 1);
  state.store(Failed, std::memory_order_release);
}

std::string SharedBlock::failure() const { return concat("rank ", failedRank, " failed: ", text); }

SharedMemoryTransport::SharedMemoryTransport(SharedBlock &block, const BlockSizes &sizes,
                                             int64_t rank, std::vector<char *> arenas,
                                             double timeout)
    : block(block), sizes(sizes), own(rank), arenas(std::move(arenas)), timeout(timeout) {}

std::unique_ptr<Communicator>
SharedMemoryTransport::connect(int64_t group, const std::vector<int64_t> &members) {
  return std::make_unique<SharedMemoryCommunicator>(
      block, group, sizes, members, own, arenas, timeout);
}

std::unique_ptr<Channel> SharedMemoryTransport::open(int64_t peer, int64_t stage) {
  return std::make_unique<SharedMemoryChannel>(block, sizes, own, peer, stage, arenas, timeout);
}

} // namespace galvatron_rt
