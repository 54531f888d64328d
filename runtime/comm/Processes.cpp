// Processes.cpp: see Processes.h. Ranks of one node open each other's arena through /proc: a memfd has
// no name that could stay behind, and no limit of its own (/dev/shm of a container has 64 MiB).
#include "comm/Processes.h"

#include "comm/Mpi.h"
#include "comm/SharedMemory.h"

#include <algorithm>
#include <functional>
#include <mpi.h>
#include <unistd.h>

namespace galvatron_rt {
namespace {

/// What a rank says of itself.
struct Introduction {
  int64_t process, arena, block; // descriptors of the two, -1 = none
  int64_t arenaBytes;            // stages have arenas of their own size
  uint64_t problem;              // a hash of why it cannot go on, 0 = it can
};

/// A job of processes that map each other's arenas.
class NodeTransport : public Transport {
public:
  /// The memory of all ranks; an Error if some cannot be mapped.
  NodeTransport(const Arena &own, int64_t rank, const std::vector<Introduction> &ranks,
                std::unique_ptr<Arena> ownBlock, const BlockSizes &sizes, double timeout) {
    int64_t count = static_cast<int64_t>(ranks.size());
    block = ownBlock ? std::move(ownBlock)
                     : std::make_unique<Arena>(ranks[0].process, ranks[0].block,
                                               SharedBlock::bytes(sizes));
    std::vector<char *> data;
    std::vector<int64_t> processes;
    for (int64_t i = 0; i < count; ++i) {
      const Introduction &other = ranks[static_cast<size_t>(i)];
      if (i != rank)
        arenas.push_back(std::make_unique<Arena>(other.process, other.arena, other.arenaBytes));
      data.push_back(i == rank ? own.data() : arenas.back()->data());
      processes.push_back(other.process);
    }
    shared = std::make_unique<SharedMemoryTransport>(
        *reinterpret_cast<SharedBlock *>(block->data()), sizes, rank, data, processes, timeout);
  }

  int64_t rank() const override { return shared->rank(); }
  std::unique_ptr<Communicator> connect(int64_t group,
                                        const std::vector<int64_t> &members) override {
    return shared->connect(group, members);
  }
  std::unique_ptr<Channel> open(int64_t peer, int64_t stage) override {
    return shared->open(peer, stage);
  }
  void progress() override { shared->progress(); }
  bool fail(const std::string &message) override { return shared->fail(message); }

private:
  std::unique_ptr<Arena> block;
  std::vector<std::unique_ptr<Arena>> arenas; // of the others
  std::unique_ptr<SharedMemoryTransport> shared;
};

/// Whether all ranks say so.
bool allAgree(bool own) {
  int mine = own, all = 0;
  MPI_Allreduce(&mine, &all, 1, MPI_INT, MPI_MIN, MPI_COMM_WORLD);
  return all;
}

bool onOneNode(int size) {
  MPI_Comm node;
  MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &node);
  int here = 0;
  MPI_Comm_size(node, &here);
  MPI_Comm_free(&node);
  return allAgree(here == size);
}

} // namespace

std::unique_ptr<Transport> connectProcesses(const Arena *arena, const std::string &problem,
                                            const BlockSizes &sizes, double timeout) {
  int rank = 0, size = 1;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  bool near = onOneNode(size);
  std::unique_ptr<Arena> block;
  if (rank == 0 && problem.empty() && near)
    block = std::make_unique<Arena>(static_cast<int64_t>(SharedBlock::bytes(sizes)), true);
  Introduction own{getpid(), arena ? arena->descriptor() : -1, block ? block->descriptor() : -1,
                   arena ? arena->size() : 0, problem.empty() ? 0 : std::hash<std::string>()(problem) | 1};
  std::vector<Introduction> ranks(static_cast<size_t>(size));
  MPI_Allgather(&own, sizeof(own), MPI_BYTE, ranks.data(), sizeof(own), MPI_BYTE, MPI_COMM_WORLD);
  for (int i = 0; i < rank && own.problem; ++i)
    if (ranks[static_cast<size_t>(i)].problem == own.problem)
      throw PeerError(problem);
  if (!problem.empty())
    fail(problem);
  for (int i = 0; i < size; ++i)
    if (ranks[static_cast<size_t>(i)].problem)
      throw PeerError(concat("rank ", i, " could not begin"));
  std::unique_ptr<Transport> transport;
  if (near) {
    try {
      transport = std::make_unique<NodeTransport>(*arena, rank, ranks, std::move(block), sizes,
                                                  timeout);
    } catch (const Error &) {
      // A system that hides one process from another: messages do what memory cannot.
    }
  }
  if (allAgree(transport != nullptr))
    return transport;
  return std::make_unique<MpiTransport>(timeout);
}

} // namespace galvatron_rt
