// Mpi.cpp: see Mpi.h. Open MPI waits by spinning, which takes cores from ranks that still compute: so
// every collective is started, and looked at with growing pauses.
#include "comm/Mpi.h"

#include "core/Clock.h"
#include "galvatron_rt.h"

#include <algorithm>
#include <deque>
#include <mpi.h>
#include <time.h>

namespace galvatron_rt {
namespace {

MPI_Datatype toMpiType(int64_t dtype) {
  switch (static_cast<galvatron_rt_dtype>(dtype)) {
  case GALVATRON_RT_F32:
    return MPI_FLOAT;
  case GALVATRON_RT_I64:
    return MPI_INT64_T;
  case GALVATRON_RT_I1:
    return MPI_BYTE;
  }
  __builtin_unreachable();
}

MPI_Op toMpiOp(int64_t monoid) {
  switch (static_cast<galvatron_rt_monoid>(monoid)) {
  case GALVATRON_RT_MONOID_SUM:
    return MPI_SUM;
  case GALVATRON_RT_MONOID_MAX:
    return MPI_MAX;
  case GALVATRON_RT_MONOID_MIN:
    return MPI_MIN;
  }
  __builtin_unreachable();
}

/// Looks at a request until it is done. Throws what `late` throws after `timeout` seconds.
template <typename Late> void await(MPI_Request &request, double timeout, Late late) {
  double deadline = secondsNow() + timeout;
  constexpr long longest = 500000; // nanoseconds
  long pause = 0;
  for (int done = 0;;) {
    MPI_Test(&request, &done, MPI_STATUS_IGNORE);
    if (done)
      return;
    if (secondsNow() > deadline)
      late();
    timespec rest{0, pause};
    if (pause)
      nanosleep(&rest, nullptr);
    pause = std::min(longest, pause + 1000);
  }
}

/// Calls `part` with the pieces of `bytes` bytes that MPI, which counts in int, can send.
template <typename Part> void forEachPart(int64_t bytes, Part part) {
  constexpr int64_t most = int64_t(1) << 30;
  for (int64_t first = 0; first < bytes; first += most)
    part(first, static_cast<int>(std::min(most, bytes - first)));
}

class MpiChannel : public Channel {
public:
  MpiChannel(int64_t peer, double timeout) : peer(static_cast<int>(peer)), timeout(timeout) {}

  void send(const char *, const void *data, int64_t bytes) override {
    std::vector<MPI_Request> &message = sent.emplace_back();
    forEachPart(bytes, [&](int64_t first, int count) {
      MPI_Isend(static_cast<const char *>(data) + first, count, MPI_BYTE, peer, 0, MPI_COMM_WORLD,
                &message.emplace_back());
    });
  }

  void waitSent(const char *name) override {
    for (MPI_Request &request : sent.front())
      await(request, timeout, [&] {
        fail("rank ", peer, " did not receive '", name, "' within ", timeout, " seconds");
      });
    sent.pop_front();
  }

  void receive(const char *name, void *data, int64_t bytes) override {
    forEachPart(bytes, [&](int64_t first, int count) {
      MPI_Request request;
      MPI_Irecv(static_cast<char *>(data) + first, count, MPI_BYTE, peer, 0, MPI_COMM_WORLD,
                &request);
      await(request, timeout, [&] {
        fail("rank ", peer, " did not send '", name, "' within ", timeout, " seconds");
      });
    });
  }

private:
  int peer;
  double timeout;
  std::deque<std::vector<MPI_Request>> sent; // that nobody has waited for
};

class MpiCommunicator : public Communicator {
public:
  MpiCommunicator(MPI_Comm comm, double timeout) : comm(comm), timeout(timeout) {}
  ~MpiCommunicator() override { MPI_Comm_free(&comm); }

  void allReduce(CollectiveName name, const void *in, void *out, int64_t count, int64_t dtype,
                 int64_t monoid) override {
    // MPI counts in int.
    constexpr int64_t most = int64_t(1) << 30;
    int64_t size = dtype == GALVATRON_RT_I64 ? 8 : 4;
    for (int64_t first = 0; first < count; first += most) {
      const char *from = static_cast<const char *>(in) + first * size;
      char *to = static_cast<char *>(out) + first * size;
      MPI_Request request;
      MPI_Iallreduce(in == out ? MPI_IN_PLACE : from, to,
                     static_cast<int>(std::min(most, count - first)), toMpiType(dtype),
                     toMpiOp(monoid), comm, &request);
      wait("all-reduce", name, request);
    }
  }

  void allGather(CollectiveName name, const void *in, void *out, int64_t bytes) override {
    // In words of 64 bytes where they divide, as MPI counts in int.
    MPI_Datatype type = MPI_BYTE;
    int64_t count = bytes;
    bool isWide = bytes % 64 == 0;
    if (isWide) {
      MPI_Type_contiguous(64, MPI_BYTE, &type);
      MPI_Type_commit(&type);
      count = bytes / 64;
    }
    MPI_Request request;
    MPI_Iallgather(in, static_cast<int>(count), type, out, static_cast<int>(count), type, comm,
                   &request);
    wait("all-gather", name, request);
    if (isWide)
      MPI_Type_free(&type);
  }

  int64_t largest(CollectiveName name, int64_t value) override {
    MPI_Request request;
    MPI_Iallreduce(MPI_IN_PLACE, &value, 1, MPI_INT64_T, MPI_MAX, comm, &request);
    wait("agreement", name, request);
    return value;
  }

private:
  void wait(const char *what, CollectiveName name, MPI_Request &request) const {
    await(request, timeout, [&] {
      // untested: a collective that was given up leaves MPI, and the tests after it, undefined
      fail("the ", what, " of '", name.value, "' over ", name.axes, " did not end within ", timeout,
           " seconds");
    });
  }

  MPI_Comm comm;
  double timeout;
};

} // namespace

int64_t MpiTransport::rank() const {
  int rank = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  return rank;
}

std::unique_ptr<Communicator> MpiTransport::connect(int64_t, const std::vector<int64_t> &members) {
  MPI_Comm comm;
  int64_t own = std::find(members.begin(), members.end(), rank()) - members.begin();
  MPI_Comm_split(MPI_COMM_WORLD, static_cast<int>(members.front()), static_cast<int>(own), &comm);
  return std::make_unique<MpiCommunicator>(comm, timeout);
}

std::unique_ptr<Channel> MpiTransport::open(int64_t peer, int64_t) {
  return std::make_unique<MpiChannel>(peer, timeout);
}

void MpiTransport::fail(const std::string &) { MPI_Abort(MPI_COMM_WORLD, 1); }

} // namespace galvatron_rt
