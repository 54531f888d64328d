// Executor.h: walks the rows of a program table.
#ifndef GALVATRON_RT_CORE_EXECUTOR_H
#define GALVATRON_RT_CORE_EXECUTOR_H

#include "core/Context.h"

#include <functional>

namespace galvatron_rt {

class Executor {
public:
  explicit Executor(galvatron_rt_context &context);

  /// Called at PUBLISH_OUTPUT and PUBLISH_GRADIENTS rows; may be empty.
  std::function<void(int64_t tensor, int64_t microBatch)> publishOutput;
  std::function<void()> publishGradients;

  /// After every row, look at what it wrote: a NaN is an Error that names the row and the value.
  /// The first infinity is remembered (masks may hold some on purpose).
  void traceNumbers(bool on) { trace = on; }
  const std::string &firstInfinity() const { return infinity; }

  /// Adds up the time of each function, and the time that was waited, from now on.
  void profile(bool on) { timed = on; }
  /// A table of functions, and of those that were waited for, by time, a line each.
  std::string profileText() const;

  /// Runs all rows. An Error names the context's step, and the row.
  void run(Span<galvatron_rt_row_record> rows);

private:
  void runRow(const galvatron_rt_row_record &row);
  void start(const galvatron_rt_row_record &row);
  void runMessage(const galvatron_rt_row_record &row);
  void lookAt(const galvatron_rt_row_record &row, Span<galvatron_rt_row_record> rows);

  galvatron_rt_context &context;
  std::vector<void *> pointers; // of every arg record
  /// What was spent on something, and how often.
  struct Spent {
    double seconds = 0;
    int64_t calls = 0;
  };
  /// Runs `work`, and counts what it takes if that is wanted.
  template <typename Work> void count(Spent &spent, Work work);

  std::vector<Spent> functions, groups, stages; // stages: messages from and to them
  bool trace = false, timed = false;
  std::string infinity;
};

} // namespace galvatron_rt

#endif // GALVATRON_RT_CORE_EXECUTOR_H
