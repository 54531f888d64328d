// Mpi.cpp: see Mpi.h. Open MPI waits by spinning, which takes cores from ranks that still compute: so
// every collective is started, and looked at with growing pauses.
#include "comm/Mpi.h"

#include "comm/Patience.h"
#include "galvatron_rt.h"

#include <algorithm>
#include <deque>
#include <limits>
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

/// Looks at a request until it is done. Calls `waits` once, if that takes half a second, or a tenth of the
/// `timeout`; throws what `late` throws when it is over.
template <typename Waits, typename Late>
void await(MPI_Request &request, double timeout, Waits waits, Late late) {
  Patience patience(timeout);
  constexpr long longest = 500000; // nanoseconds
  long pause = 0;
  bool isLong = false;
  for (int done = 0;;) {
    MPI_Test(&request, &done, MPI_STATUS_IGNORE);
    if (done)
      return;
    double left = patience.left();
    if (timeout - left > std::min(timeout / 10, 0.5) && !isLong) {
      isLong = true;
      waits();
    }
    if (left <= 0)
      late();
    timespec rest{0, pause};
    if (pause)
      nanosleep(&rest, nullptr);
    pause = std::min(longest, pause + 1000);
  }
}

/// Calls `part` with the pieces of `count` bytes or elements that MPI, which counts in int, can send.
template <typename Part> void forEachPart(int64_t count, Part part) {
  constexpr int64_t most = int64_t(1) << 30;
  for (int64_t first = 0; first < count; first += most)
    part(first, static_cast<int>(std::min(most, count - first)));
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
      await(request, timeout, [] {}, [&] {
        fail("rank ", peer, " did not receive '", name, "' within ", timeout, " seconds");
      });
    sent.pop_front();
  }

  void receive(const char *name, void *data, int64_t bytes) override {
    forEachPart(bytes, [&](int64_t first, int count) {
      MPI_Request request;
      MPI_Irecv(static_cast<char *>(data) + first, count, MPI_BYTE, peer, 0, MPI_COMM_WORLD,
                &request);
      await(request, timeout, [] {}, [&] {
        fail("rank ", peer, " did not send '", name, "' within ", timeout, " seconds");
      });
    });
  }

private:
  int peer;
  double timeout;
  std::deque<std::vector<MPI_Request>> sent; // that nobody has waited for
};

} // namespace

class MpiCommunicator : public Communicator {
public:
  MpiCommunicator(MpiTransport &transport, MPI_Comm comm, const std::vector<int64_t> &members)
      : transport(transport), comm(comm), members(members), heard(members.size(), 0) {
    transport.communicators.push_back(this);
  }
  ~MpiCommunicator() override {
    auto &all = transport.communicators;
    all.erase(std::find(all.begin(), all.end(), this));
    MPI_Comm_free(&comm);
  }

  void start(const Collective &collective) override {
    Underway &own = underway.emplace_back(Underway{collective, {}, ++started});
    bool isReduce = collective.kind == Collective::Kind::AllReduce;
    if (!isReduce)
      return startGather(own);
    int64_t size = collective.dtype == GALVATRON_RT_I64 ? 8 : 4;
    forEachPart(collective.count, [&](int64_t first, int count) {
      const char *from = static_cast<const char *>(collective.in) + first * size;
      char *to = static_cast<char *>(collective.out) + first * size;
      MPI_Iallreduce(collective.in == collective.out ? MPI_IN_PLACE : from, to, count,
                     toMpiType(collective.dtype), toMpiOp(collective.monoid), comm,
                     &own.requests.emplace_back());
    });
  }

  void complete(const void *out) override {
    auto found = std::find_if(underway.begin(), underway.end(), [&](const Underway &other) {
      return other.collective.out == out;
    });
    for (MPI_Request &request : found->requests)
      wait(found->collective.what(), found->collective.name, found->number, request);
    underway.erase(found);
  }

  int64_t largest(CollectiveName name, int64_t value) override {
    MPI_Request request;
    MPI_Iallreduce(MPI_IN_PLACE, &value, 1, MPI_INT64_T, MPI_MAX, comm, &request);
    wait("agreement", name, ++started, request);
    return value;
  }

  /// MPI works while it is asked.
  void advance() {
    int done;
    if (!underway.empty())
      MPI_Testall(static_cast<int>(underway.front().requests.size()),
                  underway.front().requests.data(), &done, MPI_STATUSES_IGNORE);
  }

private:
  struct Underway {
    Collective collective;
    std::vector<MPI_Request> requests;
    int64_t number; // among those of the group, from 1
  };

  /// In words of as many bytes as divide all, up to 64 KiB, as MPI counts in int.
  void startGather(Underway &own) const {
    const Collective &c = own.collective;
    int64_t word = std::min<int64_t>(c.count & -c.count, 1 << 16), count = word ? c.count / word : 0;
    if (count > std::numeric_limits<int>::max())
      // untested: takes more than 2 GiB of each rank
      fail("'", c.name.value, "' has ", c.count, " bytes, which are too many to gather over ", c.name.axes);
    MPI_Datatype type;
    MPI_Type_contiguous(static_cast<int>(std::max<int64_t>(word, 1)), MPI_BYTE, &type);
    MPI_Type_commit(&type);
    MPI_Iallgather(c.in, static_cast<int>(count), type, c.out, static_cast<int>(count), type, comm,
                   &own.requests.emplace_back());
    MPI_Type_free(&type); // when the collective is done
  }

  void wait(const char *what, CollectiveName name, int64_t number, MPI_Request &request) {
    await(request, transport.timeout, [&] { tellThatThisWaits(); },
          [&] {
            std::string missing = whoIsMissing(number);
            if (missing.empty())
              // untested: all have come, and MPI hangs
              fail("the ", what, " of '", name.value, "' over ", name.axes, " did not end within ",
                   transport.timeout, " seconds");
            fail("rank ", missing, " did not come to the ", what, " of '", name.value, "' over ",
                 name.axes, " within ", transport.timeout, " seconds");
          });
  }

  /// MPI does not say who is missing. So members that have waited for long say how far they have come.
  void tellThatThisWaits() {
    hear();
    int own = 0;
    MPI_Comm_rank(comm, &own);
    int64_t &word = told.emplace_back(started);
    for (int other = 0, count = static_cast<int>(members.size()); other < count; ++other) {
      MPI_Request request;
      if (other != own) {
        MPI_Isend(&word, 1, MPI_INT64_T, other, 0, comm, &request);
        MPI_Request_free(&request);
      }
    }
    heard[static_cast<size_t>(own)] = started;
  }

  /// Takes in what others have told.
  void hear() {
    for (;;) {
      int isThere = 0;
      MPI_Status status;
      MPI_Iprobe(MPI_ANY_SOURCE, 0, comm, &isThere, &status);
      if (!isThere)
        return;
      int64_t word = 0;
      MPI_Recv(&word, 1, MPI_INT64_T, status.MPI_SOURCE, 0, comm, MPI_STATUS_IGNORE);
      heard[static_cast<size_t>(status.MPI_SOURCE)] = word;
    }
  }

  /// "2, 3": those who have not said that they have come to collective `number`.
  std::string whoIsMissing(int64_t number) {
    hear();
    std::string missing;
    for (size_t i = 0; i < members.size(); ++i)
      if (heard[i] < number)
        missing += concat(missing.empty() ? "" : ", ", members[i]);
    return missing;
  }

  MpiTransport &transport;
  MPI_Comm comm;
  std::vector<int64_t> members;
  std::deque<Underway> underway;
  int64_t started = 0;        // collectives
  std::deque<int64_t> told;   // to others; as MPI may still read them, they stay
  std::vector<int64_t> heard; // how far each member has said it has come
};

int64_t MpiTransport::rank() const {
  int rank = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  return rank;
}

std::unique_ptr<Communicator> MpiTransport::connect(int64_t, const std::vector<int64_t> &members) {
  MPI_Comm comm;
  int64_t own = std::find(members.begin(), members.end(), rank()) - members.begin();
  MPI_Comm_split(MPI_COMM_WORLD, static_cast<int>(members.front()), static_cast<int>(own), &comm);
  return std::make_unique<MpiCommunicator>(*this, comm, members);
}

std::unique_ptr<Channel> MpiTransport::open(int64_t peer, int64_t) {
  return std::make_unique<MpiChannel>(peer, timeout);
}

void MpiTransport::progress() {
  for (MpiCommunicator *communicator : communicators)
    communicator->advance();
}

/// mpirun ends the others when this one ends, which says before what has happened. MPI_Abort would not let it.
bool MpiTransport::fail(const std::string &) { return false; }

} // namespace galvatron_rt
