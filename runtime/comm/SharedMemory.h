// SharedMemory.h: collectives between ranks that see each other's arenas: threads of one process, or
// processes of one node that map them.
//
// Those who make a collective have the same layout, so a peer's operand lies at the same offset of the
// peer's arena: ranks of one stage, or, of the staging area, of all.
// Nothing is copied through a buffer in between: when all members have started a collective, each
// reduces its share of the elements for all, or copies what it gathers, and it is done when all have
// done that. Nobody but the ranks themselves does their shares: those that wait, and those that compute
// between two rows (`progress`). A message is copied by the one who receives it, out of the sender's
// arena: the sender says where it lies.
#ifndef GALVATRON_RT_COMM_SHAREDMEMORY_H
#define GALVATRON_RT_COMM_SHAREDMEMORY_H

#include "comm/Communicator.h"

#include <atomic>
#include <string>

namespace galvatron_rt {

/// How much of everything a block has.
struct BlockSizes {
  int64_t groups, ranks;
  int64_t stages;  // of the pipeline; each rank sends to one rank of each
  int64_t maxSent; // messages of one rank to another that are on their way at a time
};

/// What the ranks of a node share besides their arenas: for each group and rank how many collectives
/// it has started, of how many its share is done, and the word it brings; for each rank and stage the
/// messages on their way; and the first failure. Lies in memory that begins as zeros; no pointers.
class SharedBlock {
public:
  static size_t bytes(const BlockSizes &sizes);

  /// Collectives of `group` that `rank` has started, and those of which its share is done.
  std::atomic<uint32_t> &started(const BlockSizes &sizes, int64_t group, int64_t rank) {
    return counters[(group * sizes.ranks + rank) * 2].value;
  }
  std::atomic<uint32_t> &done(const BlockSizes &sizes, int64_t group, int64_t rank) {
    return counters[(group * sizes.ranks + rank) * 2 + 1].value;
  }
  /// What `rank` brings to an agreement of `group`. It is there until all have read it: then that is done.
  std::atomic<int64_t> &word(const BlockSizes &sizes, int64_t group, int64_t rank) {
    return counters[(group * sizes.ranks + rank) * 2].word;
  }
  /// Messages from `rank` to `stage`: how many were sent and received so far.
  std::atomic<uint32_t> &sent(const BlockSizes &sizes, int64_t rank, int64_t stage) {
    return counters[messageCounter(sizes, rank, stage)].value;
  }
  std::atomic<uint32_t> &received(const BlockSizes &sizes, int64_t rank, int64_t stage) {
    return counters[messageCounter(sizes, rank, stage) + 1].value;
  }
  /// Where in the sender's arena message `number` begins.
  int64_t &place(const BlockSizes &sizes, int64_t rank, int64_t stage, uint32_t number) {
    Counter *end = counters + messageCounter(sizes, sizes.ranks, 0);
    return reinterpret_cast<int64_t *>(end)[(rank * sizes.stages + stage) * sizes.maxSent +
                                            number % static_cast<uint32_t>(sizes.maxSent)];
  }
  /// Keeps the first failure and lets all who wait see it. Returns whether that is another rank's, with the same message.
  bool fail(int64_t rank, const std::string &message);
  bool failed() const { return state.load(std::memory_order_acquire) == Failed; }
  /// "rank 1 failed: ...".
  std::string failure() const;

private:
  static int64_t messageCounter(const BlockSizes &sizes, int64_t rank, int64_t stage) {
    return (sizes.groups * sizes.ranks + rank * sizes.stages + stage) * 2;
  }

  enum State : uint32_t { Fine = 0, Failing = 1, Failed = 2 };
  struct alignas(64) Counter {
    std::atomic<uint32_t> value;
    std::atomic<int64_t> word;
  };

  std::atomic<uint32_t> state;
  int64_t failedRank;
  char text[1024];
  Counter counters[1]; // as many as bytes() says
};

class SharedMemoryCommunicator;

/// A job of which all ranks share memory. It and the block outlive the communicators.
class SharedMemoryTransport : public Transport {
public:
  /// `arenas` are the arenas of all ranks as this one sees them, `processes` the processes in which
  /// they are, empty if all are in this one. A peer that has ended, or does not come within `timeout`
  /// seconds, is an Error.
  SharedMemoryTransport(SharedBlock &block, const BlockSizes &sizes, int64_t rank,
                        std::vector<char *> arenas, const std::vector<int64_t> &processes,
                        double timeout);
  ~SharedMemoryTransport() override;

  int64_t rank() const override { return own; }
  std::unique_ptr<Communicator> connect(int64_t group,
                                        const std::vector<int64_t> &members) override;
  std::unique_ptr<Channel> open(int64_t peer, int64_t stage) override;
  void progress() override;
  bool fail(const std::string &message) override { return block.fail(own, message); }

private:
  friend class SharedMemoryCommunicator;
  friend class SharedMemoryChannel;

  /// Returns when a counter that `rank` counts up has come to `wanted`, and gets on with what was
  /// started meanwhile. `missing` says, for an Error, what that rank did not do.
  template <typename Missing>
  void await(std::atomic<uint32_t> &counter, uint32_t wanted, int64_t rank, Missing missing);
  bool hasEnded(int64_t rank) const;

  SharedBlock &block;
  BlockSizes sizes;
  int64_t own;
  std::vector<char *> arenas;
  double timeout;
  int spins; // looks at a counter before this rank sleeps
  std::vector<int> processes; // descriptors of those of the ranks, -1 = not known
  std::vector<SharedMemoryCommunicator *> communicators;
  int64_t unfinished = 0; // collectives that were started and of which this rank's share is not done
};

} // namespace galvatron_rt

#endif // GALVATRON_RT_COMM_SHAREDMEMORY_H
