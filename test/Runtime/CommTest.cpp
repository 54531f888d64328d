// CommTest.cpp: the conformance suite of collectives. The same tests run over threads of one process
// and, when mpirun starts this program, over processes: with memory that they share, or with messages
// (GALVATRON_RT_TEST_MESSAGES).
#include "comm/Delay.h"
#include "comm/Mpi.h"
#include "comm/Processes.h"
#include "comm/SharedMemory.h"
#include "core/Arena.h"
#include "core/Clock.h"
#include "galvatron_rt.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <gtest/gtest.h>
#include <limits>
#include <mpi.h>
#include <numeric>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

using namespace galvatron_rt;

namespace {

constexpr int64_t groups = 4, arenaBytes = int64_t(4) << 20;

bool underMpirun() { return std::getenv("OMPI_COMM_WORLD_SIZE") != nullptr; }

int64_t ranksOfJob() {
  int size = 4;
  if (underMpirun())
    MPI_Comm_size(MPI_COMM_WORLD, &size);
  return size;
}

/// Every rank is a stage of its own.
BlockSizes sizesOf(int64_t ranks) { return {groups, ranks, ranks, 2}; }

/// What a test does on each rank. `arena` is the rank's memory, in which operands must lie.
using Body = std::function<void(Transport &transport, char *arena)>;

void runOnThreads(const Body &body, double timeout, const std::vector<int64_t> &processes = {}) {
  int64_t ranks = ranksOfJob();
  BlockSizes sizes = sizesOf(ranks);
  Arena memory(static_cast<int64_t>(SharedBlock::bytes(sizes)));
  SharedBlock &block = *reinterpret_cast<SharedBlock *>(memory.data());
  std::vector<std::unique_ptr<Arena>> arenas;
  std::vector<char *> data;
  for (int64_t i = 0; i < ranks; ++i) {
    arenas.push_back(std::make_unique<Arena>(arenaBytes));
    data.push_back(arenas.back()->data());
  }
  std::vector<std::thread> threads;
  for (int64_t rank = 0; rank < ranks; ++rank)
    threads.emplace_back([&, rank] {
      SharedMemoryTransport transport(block, sizes, rank, data, processes, timeout);
      body(transport, data[static_cast<size_t>(rank)]);
    });
  for (std::thread &thread : threads)
    thread.join();
}

/// Runs `body` on every rank; returns on this process when it has ended on all.
void onAllRanks(const Body &body, double timeout = 30) {
  if (!underMpirun())
    return runOnThreads(body, timeout);
  Arena arena(arenaBytes, true);
  std::unique_ptr<Transport> transport;
  if (std::getenv("GALVATRON_RT_TEST_MESSAGES"))
    transport = std::make_unique<MpiTransport>(timeout);
  else
    transport = connectProcesses(&arena, "", sizesOf(ranksOfJob()), timeout);
  body(*transport, arena.data());
  MPI_Barrier(MPI_COMM_WORLD);
}

std::vector<int64_t> everybody() {
  std::vector<int64_t> ranks(static_cast<size_t>(ranksOfJob()));
  std::iota(ranks.begin(), ranks.end(), 0);
  return ranks;
}

constexpr CollectiveName name{"value", "a,b"};

void reduce(Communicator &group, const void *in, void *out, int64_t count, int64_t dtype,
            int64_t monoid) {
  group.run(Collective::allReduce(name, in, out, count, dtype, monoid));
}

void gather(Communicator &group, const void *in, void *out, int64_t bytes) {
  group.run(Collective::allGather(name, in, out, bytes));
}

/// Small integers: every order of adding them gives the same bits.
float elementOf(int64_t rank, int64_t i) { return static_cast<float>((rank * 7 + i * 3) % 11 - 5); }

template <typename T> T combined(int64_t i, int64_t monoid) {
  T result = static_cast<T>(elementOf(0, i));
  for (int64_t rank = 1; rank < ranksOfJob(); ++rank) {
    T other = static_cast<T>(elementOf(rank, i));
    result = monoid == GALVATRON_RT_MONOID_SUM   ? result + other
             : monoid == GALVATRON_RT_MONOID_MAX ? std::max(result, other)
                                                 : std::min(result, other);
  }
  return result;
}

template <typename T> void testAllReduce(int64_t dtype) {
  onAllRanks([&](Transport &transport, char *arena) {
    auto all = transport.connect(0, everybody());
    // Fewer elements than ranks, odd ones, and more than one block.
    for (int64_t count : {1, 3, 17, 1000, 9001})
      for (int64_t monoid : {GALVATRON_RT_MONOID_SUM, GALVATRON_RT_MONOID_MAX, GALVATRON_RT_MONOID_MIN})
        for (bool inPlace : {false, true}) {
          T *in = reinterpret_cast<T *>(arena);
          T *out = inPlace ? in : reinterpret_cast<T *>(arena + arenaBytes / 2);
          for (int64_t i = 0; i < count; ++i)
            in[i] = static_cast<T>(elementOf(transport.rank(), i));
          out[count] = 77;
          reduce(*all, in, out, count, dtype, monoid);
          for (int64_t i = 0; i < count; ++i)
            ASSERT_EQ(out[i], combined<T>(i, monoid)) << count << " elements, monoid " << monoid;
          EXPECT_EQ(out[count], 77);
          if (!inPlace)
            for (int64_t i = 0; i < count; ++i)
              ASSERT_EQ(in[i], static_cast<T>(elementOf(transport.rank(), i)));
        }
  });
}

} // namespace

TEST(Comm, AllReduceOfFloats) { testAllReduce<float>(GALVATRON_RT_F32); }
TEST(Comm, AllReduceOfIntegers) { testAllReduce<int64_t>(GALVATRON_RT_I64); }

TEST(Comm, AllReduceKeepsNaN) {
  onAllRanks([](Transport &transport, char *arena) {
    auto all = transport.connect(0, everybody());
    for (int64_t monoid : {GALVATRON_RT_MONOID_SUM, GALVATRON_RT_MONOID_MAX, GALVATRON_RT_MONOID_MIN}) {
      float *value = reinterpret_cast<float *>(arena);
      *value = transport.rank() == 1 ? std::numeric_limits<float>::quiet_NaN() : 1.0f;
      reduce(*all, value, value, 1, GALVATRON_RT_F32, monoid);
      if (monoid == GALVATRON_RT_MONOID_SUM || !std::getenv("GALVATRON_RT_TEST_MESSAGES"))
        EXPECT_TRUE(*value != *value) << "monoid " << monoid;
    }
  });
}

// The order of addition is that of the ranks, so every run and every member has the same bits.
TEST(Comm, AllReduceGivesAllMembersTheSameBits) {
  onAllRanks([](Transport &transport, char *arena) {
    auto all = transport.connect(0, everybody());
    constexpr int64_t count = 5000;
    float *in = reinterpret_cast<float *>(arena), *sum = in + count, *every = sum + count;
    for (int64_t i = 0; i < count; ++i)
      in[i] = 1.0f / static_cast<float>(1 + i + 13 * transport.rank());
    reduce(*all, in, sum, count, GALVATRON_RT_F32, GALVATRON_RT_MONOID_SUM);
    gather(*all, sum, every, count * 4);
    for (int64_t rank = 0; rank < ranksOfJob(); ++rank)
      EXPECT_EQ(std::memcmp(every + rank * count, sum, count * 4), 0) << "rank " << rank;
  });
}

TEST(Comm, AllGather) {
  onAllRanks([](Transport &transport, char *arena) {
    auto all = transport.connect(0, everybody());
    for (int64_t bytes : {1, 64, 1000, 65536}) {
      char *out = arena + arenaBytes / 2;
      std::memset(arena, static_cast<int>('a' + transport.rank()), static_cast<size_t>(bytes));
      gather(*all, arena, out, bytes);
      for (int64_t rank = 0; rank < ranksOfJob(); ++rank)
        EXPECT_EQ(std::count(out + rank * bytes, out + (rank + 1) * bytes, 'a' + rank), bytes);
    }
  });
}

// One after the other and between other collectives: no word is heard by who should hear the next.
TEST(Comm, LargestOfWords) {
  onAllRanks([](Transport &transport, char *arena) {
    auto all = transport.connect(0, everybody());
    int64_t last = ranksOfJob() - 1;
    float *value = reinterpret_cast<float *>(arena);
    for (int64_t round = 0; round < 200; ++round) {
      int64_t large = int64_t(1) << 40;
      ASSERT_EQ(all->largest(name, transport.rank() * large + round), last * large + round);
      ASSERT_EQ(all->largest(name, -transport.rank() - round), -round);
      if (round % 3 == 0) {
        *value = 1;
        reduce(*all, value, value, 1, GALVATRON_RT_F32, GALVATRON_RT_MONOID_SUM);
      }
    }
  });
}

// Several at once, of two groups, completed from the last to the first, and an agreement between them.
TEST(Comm, CompletesInAnyOrder) {
  int64_t ranks = ranksOfJob();
  if (ranks % 2)
    GTEST_SKIP() << "needs an even number of ranks";
  onAllRanks([&](Transport &transport, char *arena) {
    int64_t rank = transport.rank(), first = rank / 2 * 2;
    auto all = transport.connect(0, everybody());
    auto pair = transport.connect(1, {first, first + 1});
    constexpr int64_t count = 3000, atOnce = 6;
    for (int64_t round = 0; round < 20; ++round) {
      std::vector<float *> in, out;
      for (int64_t k = 0; k < atOnce; ++k) {
        in.push_back(reinterpret_cast<float *>(arena) + k * 2 * count);
        out.push_back(k % 3 ? in.back() : in.back() + count); // in place, or not
        for (int64_t i = 0; i < count; ++i)
          in.back()[i] = elementOf(rank, i + k + round);
        (k % 2 ? pair : all)
            ->start(Collective::allReduce(name, in.back(), out.back(), count, GALVATRON_RT_F32,
                                          GALVATRON_RT_MONOID_SUM));
        if (k == 3)
          ASSERT_EQ(all->largest(name, rank + round), ranks - 1 + round);
      }
      for (int64_t k = atOnce - 1; k >= 0; --k) {
        (k % 2 ? pair : all)->complete(out[static_cast<size_t>(k)]);
        for (int64_t i = 0; i < count; ++i) {
          float sum = 0;
          for (int64_t other = k % 2 ? first : 0; other < (k % 2 ? first + 2 : ranks); ++other)
            sum += elementOf(other, i + k + round);
          ASSERT_EQ(out[static_cast<size_t>(k)][i], sum) << "round " << round << ", collective " << k;
        }
      }
    }
  });
}

// Who goes on after the start does its part between two rows, so that others need not wait for its complete.
TEST(Comm, OthersCompleteWhileARankGoesOn) {
  if (underMpirun())
    GTEST_SKIP() << "ranks tell each other by memory of this process";
  std::atomic<int64_t> completed(0);
  onAllRanks([&](Transport &transport, char *arena) {
    auto all = transport.connect(0, everybody());
    float *value = reinterpret_cast<float *>(arena);
    *value = 1;
    all->start(Collective::allReduce(name, value, value, 1, GALVATRON_RT_F32, GALVATRON_RT_MONOID_SUM));
    if (transport.rank() == 0)
      while (completed < ranksOfJob() - 1)
        transport.progress();
    all->complete(value);
    ++completed;
    EXPECT_EQ(*value, static_cast<float>(ranksOfJob()));
  });
}

// Ten collectives that are slow at once take as long as one, and less if there is work meanwhile.
TEST(Comm, DelaysAreHidden) {
  onAllRanks([](Transport &fast, char *arena) {
    constexpr double delay = 0.2;
    DelayingTransport transport(fast, delay);
    auto all = transport.connect(0, everybody());
    float *values = reinterpret_cast<float *>(arena);
    double begin = secondsNow();
    for (int64_t k = 0; k < 10; ++k) {
      values[k * 16] = 1;
      all->start(Collective::allReduce(name, values + k * 16, values + k * 16, 1, GALVATRON_RT_F32,
                                       GALVATRON_RT_MONOID_SUM));
    }
    double started = secondsNow();
    EXPECT_EQ(all->largest(name, transport.rank()), ranksOfJob() - 1);
    for (int64_t k = 0; k < 10; ++k) {
      all->complete(values + k * 16);
      EXPECT_EQ(values[k * 16], static_cast<float>(ranksOfJob()));
    }
    EXPECT_GE(secondsNow() - begin, delay);
    EXPECT_LT(secondsNow() - started, 10 * delay);
  });
}

// Two groups at once: neighbours, and those at equal places among neighbours.
TEST(Comm, GroupsAreApart) {
  int64_t ranks = ranksOfJob();
  if (ranks % 2)
    GTEST_SKIP() << "needs an even number of ranks";
  onAllRanks([&](Transport &transport, char *arena) {
    int64_t rank = transport.rank(), first = rank / 2 * 2;
    std::vector<int64_t> across;
    for (int64_t i = rank % 2; i < ranks; i += 2)
      across.push_back(i);
    auto pair = transport.connect(0, {first, first + 1});
    auto equal = transport.connect(1, across);
    float *value = reinterpret_cast<float *>(arena);
    for (int round = 0; round < 50; ++round) {
      *value = static_cast<float>(rank);
      reduce(*pair, value, value, 1, GALVATRON_RT_F32, GALVATRON_RT_MONOID_SUM);
      ASSERT_EQ(*value, static_cast<float>(2 * first + 1));
      reduce(*equal, value, value, 1, GALVATRON_RT_F32, GALVATRON_RT_MONOID_SUM);
      ASSERT_EQ(*value, static_cast<float>(ranks * (ranks - 1) / 2));
    }
  });
}

// A rank that does not come is named, with the collective and the axes, when the time is over.
/// Every rank sends to every other one, two messages at a time, before it receives: nobody waits for a receiver.
TEST(Comm, MessagesArriveInOrder) {
  onAllRanks([&](Transport &transport, char *arena) {
    int64_t own = transport.rank(), ranks = ranksOfJob();
    std::vector<std::unique_ptr<Channel>> channels;
    for (int64_t peer = 0; peer < ranks; ++peer)
      channels.push_back(peer == own ? nullptr : transport.open(peer, peer));
    for (int64_t round = 0; round < 20; ++round) {
      // Sizes that differ, one of nothing.
      int64_t counts[] = {round % 3 ? 1000 * round + 1 : 0, 3};
      constexpr int64_t room = 32768;
      float *out = reinterpret_cast<float *>(arena), *in = out + room * 2 * ranks;
      for (int64_t peer = 0; peer < ranks; ++peer)
        for (int64_t m = 0; m < 2 && peer != own; ++m) {
          float *message = out + (peer * 2 + m) * room;
          for (int64_t i = 0; i < counts[m]; ++i)
            message[i] = elementOf(own * 5 + peer, i + round + m);
          channels[static_cast<size_t>(peer)]->send("h", message, counts[m] * 4);
        }
      for (int64_t peer = 0; peer < ranks; ++peer)
        for (int64_t m = 0; m < 2 && peer != own; ++m) {
          in[counts[m]] = 77;
          channels[static_cast<size_t>(peer)]->receive("h", in, counts[m] * 4);
          for (int64_t i = 0; i < counts[m]; ++i)
            ASSERT_EQ(in[i], elementOf(peer * 5 + own, i + round + m)) << "round " << round;
          EXPECT_EQ(in[counts[m]], 77);
        }
      for (int64_t peer = 0; peer < ranks; ++peer)
        for (int64_t m = 0; m < 2 && peer != own; ++m)
          channels[static_cast<size_t>(peer)]->waitSent("h");
    }
  });
}

TEST(Comm, MissingMessageIsNamed) {
  if (underMpirun())
    GTEST_SKIP() << "a message that was given up cannot be taken back";
  std::vector<std::string> errors(static_cast<size_t>(ranksOfJob()));
  onAllRanks(
      [&](Transport &transport, char *arena) {
        try {
          if (transport.rank() == 0)
            transport.open(1, 1)->receive("h", arena, 4);
          if (transport.rank() == 2) {
            auto channel = transport.open(1, 1);
            channel->send("g", arena, 4);
            channel->waitSent("g");
          }
        } catch (const Error &e) {
          errors[static_cast<size_t>(transport.rank())] = e.what();
        }
      },
      0.3);
  EXPECT_EQ(errors[0], "rank 1 did not send 'h' within 0.3 seconds");
  EXPECT_EQ(errors[2], "rank 1 did not receive 'g' within 0.3 seconds");
}

TEST(Comm, MissingRankIsNamed) {
  if (underMpirun())
    GTEST_SKIP() << "an MPI collective that was given up cannot be taken back";
  onAllRanks(
      [](Transport &transport, char *arena) {
        if (transport.rank() == 2)
          return;
        auto all = transport.connect(0, everybody());
        float *value = reinterpret_cast<float *>(arena);
        double begin = secondsNow();
        try {
          reduce(*all, value, value, 1, GALVATRON_RT_F32, GALVATRON_RT_MONOID_SUM);
          ADD_FAILURE() << "the collective ended without rank 2";
        } catch (const Error &e) {
          EXPECT_STREQ(e.what(), "rank 2 did not come to the all-reduce of 'value' over a,b within 0.2 seconds");
        }
        EXPECT_GE(secondsNow() - begin, 0.2);
      },
      0.2);
}

TEST(Comm, RankThatDoesNotDoItsPartIsNamed) {
  if (underMpirun())
    GTEST_SKIP() << "an MPI collective that was given up cannot be taken back";
  std::atomic<int64_t> waiting(ranksOfJob() - 1);
  onAllRanks(
      [&](Transport &transport, char *arena) {
        auto all = transport.connect(0, everybody());
        float *value = reinterpret_cast<float *>(arena);
        all->start(Collective::allReduce(name, value, value, 1, GALVATRON_RT_F32, GALVATRON_RT_MONOID_SUM));
        if (transport.rank() == 2) {
          while (waiting)
            std::this_thread::yield();
          return;
        }
        try {
          all->complete(value);
          ADD_FAILURE() << "the collective ended without rank 2";
        } catch (const Error &e) {
          EXPECT_STREQ(e.what(),
                       "rank 2 did not do its part of the all-reduce of 'value' over a,b within 0.2 seconds");
        }
        --waiting;
      },
      0.2);
}

// Long before the time is over. A process that nobody has waited for is there, but it has ended.
TEST(Comm, RankThatHasEndedIsNamed) {
  if (underMpirun())
    GTEST_SKIP() << "mpirun ends the job when a rank ends";
  pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0)
    _exit(0);
  std::vector<int64_t> processes(static_cast<size_t>(ranksOfJob()), getpid());
  processes[2] = child;
  runOnThreads(
      [](Transport &transport, char *arena) {
        if (transport.rank() == 2)
          return;
        auto all = transport.connect(0, everybody());
        try {
          gather(*all, arena, arena + 64, 4);
          ADD_FAILURE() << "the collective ended without rank 2";
        } catch (const Error &e) {
          EXPECT_STREQ(e.what(), "rank 2 has ended and did not come to the all-gather of 'value' over a,b");
        }
      },
      3600, processes);
  waitpid(child, nullptr, 0);
}

TEST(Comm, FailureReachesThoseWhoWait) {
  if (underMpirun())
    GTEST_SKIP() << "a rank that has failed ends the whole job";
  onAllRanks([](Transport &transport, char *arena) {
    if (transport.rank() == 1) {
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
      EXPECT_FALSE(transport.fail("the disk is full"));
      return;
    }
    auto all = transport.connect(0, everybody());
    try {
      gather(*all, arena, arena + 64, 4);
      ADD_FAILURE() << "the collective ended without rank 1";
    } catch (const PeerError &e) {
      EXPECT_STREQ(e.what(), "rank 1 failed: the disk is full");
      EXPECT_TRUE(transport.fail("the disk is full")) << "said already";
      EXPECT_FALSE(transport.fail("something else"));
    }
  });
}

int main(int argc, char **argv) {
  testing::InitGoogleTest(&argc, argv);
  int provided;
  if (underMpirun())
    MPI_Init_thread(&argc, &argv, MPI_THREAD_FUNNELED, &provided);
  int status = RUN_ALL_TESTS();
  if (underMpirun())
    MPI_Finalize();
  return status;
}
