// How long ranks that share memory take to sum what each of them has, beside what they take to copy as many bytes each, all of them
// at once: galvatron-all-reduce [RANKS]. Each number is the median of rounds in which both are measured. README.md says what is wanted.
#include "comm/SharedMemory.h"
#include "core/Arena.h"
#include "core/Clock.h"
#include "galvatron_rt.h"

#include <algorithm>
#include <barrier>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <numeric>
#include <thread>
#include <vector>

using namespace galvatron_rt;

namespace {

constexpr int64_t mebibyte = int64_t(1) << 20, largest = 64 * mebibyte;

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

} // namespace

int main(int argc, char **argv) {
  int64_t ranks = argc > 1 ? std::atol(argv[1]) : 2;
  if (ranks < 1 || ranks > 64) {
    std::fprintf(stderr, "usage: galvatron-all-reduce [RANKS]\n");
    return 2;
  }
  BlockSizes sizes{1, ranks, 1, 1};
  Arena memory(static_cast<int64_t>(SharedBlock::bytes(sizes)));
  SharedBlock &block = *reinterpret_cast<SharedBlock *>(memory.data());
  // What is summed, and where a copy of it goes.
  std::vector<std::unique_ptr<Arena>> arenas;
  std::vector<char *> data;
  for (int64_t i = 0; i < ranks; ++i) {
    arenas.push_back(std::make_unique<Arena>(2 * largest));
    data.push_back(arenas.back()->data());
  }
  std::vector<int64_t> everybody(static_cast<size_t>(ranks));
  std::iota(everybody.begin(), everybody.end(), 0);
  std::barrier meeting(ranks);

  auto runRank = [&](int64_t rank) {
    SharedMemoryTransport transport(block, sizes, rank, data, {}, 60);
    std::unique_ptr<Communicator> all = transport.connect(0, everybody);
    char *own = data[static_cast<size_t>(rank)];
    std::memset(own, 0, 2 * largest);
    // Seconds from when all have come until all are done.
    auto measure = [&](auto work) {
      meeting.arrive_and_wait();
      double begin = secondsNow();
      work();
      meeting.arrive_and_wait();
      return secondsNow() - begin;
    };
    for (int64_t bytes = mebibyte; bytes <= largest; bytes *= 4) {
      std::vector<double> sums, copies;
      for (int64_t round = 0, rounds = std::max<int64_t>(9, 256 * mebibyte / bytes); round < rounds; ++round) {
        copies.push_back(measure([&] { std::memcpy(own + largest, own, static_cast<size_t>(bytes)); }));
        sums.push_back(measure([&] {
          all->run(Collective::allReduce({"x", "a"}, own, own, bytes / 4, GALVATRON_RT_F32, GALVATRON_RT_MONOID_SUM));
        }));
      }
      if (rank == 0)
        std::printf("%3lld MiB: all-reduce %8.3f ms, copies %8.3f ms, ratio %.2f\n", static_cast<long long>(bytes / mebibyte),
                    median(sums) * 1e3, median(copies) * 1e3, median(sums) / median(copies));
    }
  };
  std::vector<std::thread> threads;
  for (int64_t rank = 1; rank < ranks; ++rank)
    threads.emplace_back(runRank, rank);
  runRank(0);
  for (std::thread &thread : threads)
    thread.join();
}
