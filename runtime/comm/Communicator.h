// Communicator.h: what a transport implements: the collectives that ranks make together.
//
// All members of a group start the same collectives in the same order (the compiler sees to that).
// A collective is started, and completed later: in between this rank goes on, its operand stays as it
// is and its result belongs to the collective. An Error names the collective and what became of it.
// Results are the same bits on every member, and every time.
#ifndef GALVATRON_RT_COMM_COMMUNICATOR_H
#define GALVATRON_RT_COMM_COMMUNICATOR_H

#include "core/Error.h"

#include <memory>
#include <vector>

namespace galvatron_rt {

/// What a rank ends with because another one has failed, or has the same to say: that one says why.
class PeerError : public Error {
public:
  using Error::Error;
};

/// What a collective is called in messages.
struct CollectiveName {
  const char *value; // what is reduced or gathered
  const char *axes;  // of the mesh
};

/// One collective, as one member calls it.
struct Collective {
  enum class Kind { AllReduce, AllGather };

  /// out = in of all members, combined in their order. `in` and `out` have `count` elements of
  /// `dtype` (f32 or i64) and are the same memory or do not overlap.
  static Collective allReduce(CollectiveName name, const void *in, void *out, int64_t count,
                              int64_t dtype, int64_t monoid) {
    return {Kind::AllReduce, name, in, out, count, dtype, monoid};
  }
  /// out = in of all members, one after the other, `bytes` each. The two do not overlap.
  static Collective allGather(CollectiveName name, const void *in, void *out, int64_t bytes) {
    return {Kind::AllGather, name, in, out, bytes, -1, -1};
  }

  const char *what() const { return kind == Kind::AllReduce ? "all-reduce" : "all-gather"; }

  Kind kind;
  CollectiveName name;
  const void *in;
  void *out;
  int64_t count; // elements that are reduced, or bytes that are gathered of each
  int64_t dtype, monoid;
};

/// The members of one group, as one of them sees it.
class Communicator {
public:
  virtual ~Communicator() = default;

  /// Begins, and does not wait.
  virtual void start(const Collective &collective) = 0;
  /// Waits until the collective that was started with this result is done: the result is whole, and
  /// its operand may be overwritten. In any order.
  virtual void complete(const void *out) = 0;
  void run(const Collective &collective) {
    start(collective);
    complete(collective.out);
  }
  /// The largest `value` of all members. Also how they wait for each other.
  virtual int64_t largest(CollectiveName name, int64_t value) = 0;
};

/// The messages between this rank and one other. Those of one direction are received in the order in
/// which they are sent.
class Channel {
public:
  virtual ~Channel() = default;

  /// Begins to send, and does not wait: `data` stays as it is until the `waitSent` that belongs to it.
  virtual void send(const char *name, const void *data, int64_t bytes) = 0;
  /// Waits until the other has received the oldest message that nobody has waited for.
  virtual void waitSent(const char *name) = 0;
  /// Waits for the next message.
  virtual void receive(const char *name, void *data, int64_t bytes) = 0;
};

/// The job, as one rank sees it.
class Transport {
public:
  virtual ~Transport() = default;

  virtual int64_t rank() const = 0;
  /// The group number `group` of the program, of which this rank is in the set `members`.
  virtual std::unique_ptr<Communicator> connect(int64_t group,
                                                const std::vector<int64_t> &members) = 0;
  /// The messages between this rank and `peer`, which is in stage `stage`.
  virtual std::unique_ptr<Channel> open(int64_t peer, int64_t stage) = 0;
  /// Gets on with what was started, without waiting. Called often, as nobody else does it.
  virtual void progress() = 0;
  /// Lets the others end: this rank has failed. Returns whether it is known that another one has with the same message.
  virtual bool fail(const std::string &message) = 0;
};

} // namespace galvatron_rt

#endif // GALVATRON_RT_COMM_COMMUNICATOR_H
