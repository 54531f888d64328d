// Executor.cpp: see Executor.h.
#include "core/Executor.h"

#include "core/Clock.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace galvatron_rt {

Executor::Executor(galvatron_rt_context &context)
    : context(context), functions(context.image.functions.size()),
      groups(context.image.groups.size()), stages(context.image.config().stages) {
  pointers.reserve(context.image.args.size());
  std::vector<int64_t> coordinates = context.image.coordinates(context.rank);
  for (const galvatron_rt_arg_record &arg : context.image.args)
    pointers.push_back(context.arena.data() + context.image.offset(arg, coordinates));
}

void Executor::run(Span<galvatron_rt_row_record> rows) {
  for (const galvatron_rt_row_record &row : rows) {
    if (context.transport)
      context.transport->progress();
    runRow(row);
    if (context.failed)
      fail("step ", context.step, ": '", context.image.string(row.name), "': ", context.error);
    // What is being reduced or gathered is whole when that is complete.
    bool isStart = row.action == GALVATRON_RT_ACTION_ALL_REDUCE || row.action == GALVATRON_RT_ACTION_ALL_GATHER;
    if (trace && row.n_args && !isStart)
      lookAt(row, rows);
  }
}

template <typename Work> void Executor::count(Spent &spent, Work work) {
  double begin = timed ? secondsNow() : 0;
  work();
  if (timed) {
    spent.seconds += secondsNow() - begin;
    ++spent.calls;
  }
}

void Executor::runRow(const galvatron_rt_row_record &row) {
  switch (static_cast<galvatron_rt_action>(row.action)) {
  case GALVATRON_RT_ACTION_RUN: {
    void *frame = row.frame < 0 ? nullptr : context.arena.data() + row.frame;
    return count(functions[static_cast<size_t>(row.function)], [&] {
      context.image.function(row.function)(&context, pointers.data() + row.first_arg, frame);
    });
  }
  case GALVATRON_RT_ACTION_PUBLISH_OUTPUT:
    if (publishOutput)
      publishOutput(row.tensor, row.micro_batch);
    return;
  case GALVATRON_RT_ACTION_PUBLISH_GRADIENTS:
    if (publishGradients)
      publishGradients();
    return;
  case GALVATRON_RT_ACTION_ALL_REDUCE:
  case GALVATRON_RT_ACTION_ALL_GATHER:
    return start(row);
  case GALVATRON_RT_ACTION_COMPLETE:
    return count(groups[static_cast<size_t>(row.group)], [&] {
      context.communicators[static_cast<size_t>(row.group)]->complete(pointers[static_cast<size_t>(row.first_arg)]);
    });
  case GALVATRON_RT_ACTION_SEND:
  case GALVATRON_RT_ACTION_WAIT_SENT:
  case GALVATRON_RT_ACTION_RECEIVE:
    return count(stages[static_cast<size_t>(row.peer)], [&] { runMessage(row); });
  }
}

void Executor::runMessage(const galvatron_rt_row_record &row) {
  const galvatron_rt_arg_record &arg = context.image.args[row.first_arg];
  const char *name = context.image.string(arg.name);
  void *data = pointers[static_cast<size_t>(row.first_arg)];
  Channel &channel = *context.channels[static_cast<size_t>(row.peer)];
  if (row.action == GALVATRON_RT_ACTION_SEND)
    channel.send(name, data, arg.bytes);
  else if (row.action == GALVATRON_RT_ACTION_WAIT_SENT)
    channel.waitSent(name);
  else
    channel.receive(name, data, arg.bytes);
}

void Executor::start(const galvatron_rt_row_record &row) {
  const Image &image = context.image;
  const galvatron_rt_arg_record &arg = image.args[row.first_arg];
  const void *in = pointers[static_cast<size_t>(row.first_arg)];
  void *out = pointers[static_cast<size_t>(row.first_arg) + 1];
  CollectiveName name{image.string(arg.name), image.string(image.groups[row.group].name)};
  context.communicators[static_cast<size_t>(row.group)]->start(
      row.action == GALVATRON_RT_ACTION_ALL_REDUCE
          ? Collective::allReduce(name, in, out, arg.bytes / elementBytes(arg.dtype), arg.dtype, row.monoid)
          : Collective::allGather(name, in, out, arg.bytes));
}

/// "call 2 of 4": equal blocks are one function. "" where it is the only one.
static std::string callText(const galvatron_rt_row_record &row, Span<galvatron_rt_row_record> rows) {
  int64_t calls = 0, own = 0;
  for (const galvatron_rt_row_record &other : rows) {
    calls += other.function == row.function && other.micro_batch == row.micro_batch;
    if (&other == &row)
      own = calls;
  }
  return calls > 1 ? concat(", call ", own, " of ", calls) : "";
}

void Executor::lookAt(const galvatron_rt_row_record &row, Span<galvatron_rt_row_record> rows) {
  const Image &image = context.image;
  for (int64_t a = row.first_arg; a < row.first_arg + row.n_args; ++a) {
    const galvatron_rt_arg_record &arg = image.args[a];
    if (!(arg.access & GALVATRON_RT_ACCESS_WRITE) || arg.dtype != GALVATRON_RT_F32)
      continue;
    const float *values = static_cast<const float *>(pointers[a]);
    for (int64_t i = 0; i < arg.bytes / 4; ++i) {
      if (std::isfinite(values[i]))
        continue;
      const char *name = image.string(arg.name);
      std::string place =
          concat("'", image.string(row.name), "' (",
                 row.function < 0 ? std::string("a collective")
                                  : concat("function '", image.string(image.functions[row.function].name), "'",
                                           callText(row, rows)),
                 row.micro_batch < 0 ? "" : concat(", micro-batch ", row.micro_batch), ") in ",
                 *name ? concat("'", name, "'") : concat("its argument ", a - row.first_arg),
                 " at element ", i);
      if (std::isnan(values[i]))
        fail("step ", context.step, ": the first NaN was made by ", place);
      if (infinity.empty())
        infinity = concat("step ", context.step, ": the first infinity was made by ", place);
    }
  }
}

std::string Executor::profileText() const {
  const Image &image = context.image;
  std::vector<std::pair<Spent, std::string>> lines;
  double total = 0;
  auto add = [&](const Spent &spent, const std::string &name) {
    total += spent.seconds;
    if (spent.calls)
      lines.emplace_back(spent, name);
  };
  for (size_t i = 0; i < functions.size(); ++i)
    add(functions[i], image.string(image.functions[static_cast<int64_t>(i)].name));
  for (size_t i = 0; i < groups.size(); ++i)
    add(groups[i], concat("(waiting for collectives over ", image.string(image.groups[static_cast<int64_t>(i)].name), ")"));
  for (size_t i = 0; i < stages.size(); ++i)
    add(stages[i], concat("(waiting for messages of stage ", i, ")"));
  std::sort(lines.begin(), lines.end(), [](const auto &a, const auto &b) {
    return a.first.seconds != b.first.seconds ? a.first.seconds > b.first.seconds : a.second < b.second;
  });
  std::string text =
      image.config().ranks > 1
          ? concat("rank ", context.rank, image.config().stages > 1 ? concat(", of stage ", image.config().stage) : "", ", in all steps\n")
          : std::string();
  text += "      ms     %    calls  function\n";
  for (const auto &[spent, name] : lines) {
    char line[64];
    std::snprintf(line, sizeof(line), "%8.3f %5.1f %8lld  ", spent.seconds * 1e3,
                  total > 0 ? spent.seconds / total * 100 : 0, static_cast<long long>(spent.calls));
    text += concat(line, name, "\n");
  }
  return text;
}

} // namespace galvatron_rt
