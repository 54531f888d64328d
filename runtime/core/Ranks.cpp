// Ranks.cpp: see Ranks.h.
#include "core/Ranks.h"

#include "comm/Delay.h"
#include "comm/Processes.h"
#include "comm/SharedMemory.h"

#include <condition_variable>
#include <exception>
#include <mutex>
#include <new>
#include <thread>

namespace galvatron_rt {
namespace {

/// Memory for the block of a job, zero at first.
class BlockMemory {
public:
  explicit BlockMemory(const BlockSizes &sizes) {
    size_t bytes = SharedBlock::bytes(sizes);
    memory = ::operator new(bytes, std::align_val_t(alignof(SharedBlock)));
    std::fill_n(static_cast<char *>(memory), bytes, '\0');
  }
  ~BlockMemory() { ::operator delete(memory, std::align_val_t(alignof(SharedBlock))); }
  BlockMemory(const BlockMemory &) = delete;
  BlockMemory &operator=(const BlockMemory &) = delete;

  SharedBlock &block() const { return *static_cast<SharedBlock *>(memory); }

private:
  void *memory;
};

/// Where threads wait until all of them have come.
class Gathering {
public:
  explicit Gathering(int64_t missing) : missing(missing) {}
  void come() {
    std::unique_lock<std::mutex> lock(mutex);
    if (--missing == 0)
      changed.notify_all();
    changed.wait(lock, [this] { return missing <= 0; });
  }

private:
  std::mutex mutex;
  std::condition_variable changed;
  int64_t missing;
};

/// What a rank talks to the others by, slowed down if that is asked for.
class Connection {
public:
  void set(std::unique_ptr<Transport> transport, const Options &options) {
    fast = std::move(transport);
    if (options.collectiveDelay > 0)
      slow = std::make_unique<DelayingTransport>(*fast, options.collectiveDelay / 1e3);
  }
  Transport &transport() const { return slow ? *slow : *fast; }

private:
  std::unique_ptr<Transport> fast, slow;
};

BlockSizes blockSizes(const Image &image) {
  const galvatron_rt_config_record &config = image.config();
  return {galvatron_rt_context::groupCount(image), config.ranks, config.stages, config.max_sent};
}

/// That of the stage which a rank is in.
const galvatron_rt_image *imageOf(const galvatron_rt_image *images, int64_t rank) {
  const galvatron_rt_config_record config = Image(images).config();
  return images + rank / (config.ranks / config.stages);
}

} // namespace

int runAsThreads(const galvatron_rt_image *images, const Options &options,
                 const std::string &ownWeights) {
  Image image(images);
  int64_t ranks = image.config().ranks;
  BlockSizes sizes = blockSizes(image);
  BlockMemory memory(sizes);
  SharedBlock &block = memory.block();
  std::vector<char *> arenas(static_cast<size_t>(ranks));
  Gathering opened(ranks), ended(ranks);
  std::mutex mutex;
  std::exception_ptr first;
  int signal = 0;

  auto runRank = [&](int64_t rank) {
    Connection connection; // outlives what it connects
    std::unique_ptr<Session> session;
    auto guarded = [&](auto &&work) {
      try {
        work();
      } catch (...) {
        std::lock_guard<std::mutex> lock(mutex);
        if (!first)
          first = std::current_exception();
        block.fail(rank, "");
      }
    };
    guarded([&] {
      session = std::make_unique<Session>(imageOf(images, rank), options, ownWeights, rank);
      arenas[static_cast<size_t>(rank)] = session->arena().data();
    });
    opened.come();
    if (!block.failed())
      guarded([&] {
        connection.set(std::make_unique<SharedMemoryTransport>(block, sizes, rank, arenas,
                                                              std::vector<int64_t>(), options.timeout),
                       options);
        session->join(connection.transport());
        session->announce(images);
        int ended = session->run();
        if (rank == 0)
          signal = ended;
      });
    // A peer may still read this rank's arena.
    ended.come();
  };
  std::vector<std::thread> threads;
  for (int64_t rank = 1; rank < ranks; ++rank)
    threads.emplace_back(runRank, rank);
  runRank(0);
  for (std::thread &thread : threads)
    thread.join();
  if (first)
    std::rethrow_exception(first);
  return signal;
}

int runAsProcess(const galvatron_rt_image *images, const Options &options,
                 const std::string &ownWeights, const Job &job) {
  Connection connection; // outlives what it connects
  std::unique_ptr<Session> session;
  std::string problem;
  try {
    session = std::make_unique<Session>(imageOf(images, job.rank()), options, ownWeights, job.rank(),
                                        job.size() > 1);
  } catch (const std::exception &e) {
    problem = e.what();
  }
  // The others wait for this rank's word, whatever it is.
  if (job.size() > 1)
    connection.set(connectProcesses(session ? &session->arena() : nullptr, problem,
                                    blockSizes(Image(images)), options.timeout),
                   options);
  if (!problem.empty())
    fail(problem);
  int signal = 0;
  try {
    if (job.size() > 1)
      session->join(connection.transport());
    session->announce(images);
    signal = session->run();
    // A peer may still read this rank's arena.
    session->meet();
  } catch (const std::exception &e) {
    if (job.size() > 1 && connection.transport().fail(e.what()))
      throw PeerError(e.what());
    throw;
  }
  return signal;
}

} // namespace galvatron_rt
