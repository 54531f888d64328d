// Executor.cpp: see Executor.h.
#include "core/Executor.h"

#include "core/Clock.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <numeric>

namespace galvatron_rt {

Executor::Executor(galvatron_rt_context &context)
    : context(context), seconds(context.image.functions.size(), 0),
      calls(context.image.functions.size(), 0) {
  pointers.reserve(context.image.args.size());
  std::vector<int64_t> coordinates = context.image.coordinates(context.rank);
  for (const galvatron_rt_arg_record &arg : context.image.args)
    pointers.push_back(context.arena.data() + context.image.offset(arg, coordinates));
}

void Executor::run(Span<galvatron_rt_row_record> rows, int64_t step) {
  context.step = step;
  for (const galvatron_rt_row_record &row : rows) {
    runRow(row);
    if (context.failed)
      fail("step ", step, ": '", context.image.string(row.name), "': ", context.error);
    if (trace && row.n_args)
      lookAt(row);
  }
}

void Executor::runRow(const galvatron_rt_row_record &row) {
  switch (static_cast<galvatron_rt_action>(row.action)) {
  case GALVATRON_RT_ACTION_RUN: {
    void *frame = row.frame < 0 ? nullptr : context.arena.data() + row.frame;
    double begin = timed ? secondsNow() : 0;
    context.image.function(row.function)(&context, pointers.data() + row.first_arg, frame);
    if (timed) {
      seconds[row.function] += secondsNow() - begin;
      calls[row.function]++;
    }
    return;
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
    runCollective(row);
    return;
  case GALVATRON_RT_ACTION_SEND:
  case GALVATRON_RT_ACTION_WAIT_SENT:
  case GALVATRON_RT_ACTION_RECEIVE:
    runMessage(row);
    return;
  }
}

void Executor::runMessage(const galvatron_rt_row_record &row) {
  const galvatron_rt_arg_record &arg = context.image.args[row.first_arg];
  const char *name = context.image.string(arg.name);
  void *data = pointers[row.first_arg];
  Channel &channel = *context.channels[row.peer];
  if (row.action == GALVATRON_RT_ACTION_SEND)
    channel.send(name, data, arg.bytes);
  else if (row.action == GALVATRON_RT_ACTION_WAIT_SENT)
    channel.waitSent(name);
  else
    channel.receive(name, data, arg.bytes);
}

void Executor::runCollective(const galvatron_rt_row_record &row) {
  const Image &image = context.image;
  const galvatron_rt_arg_record &arg = image.args[row.first_arg];
  const void *in = pointers[row.first_arg];
  void *out = pointers[row.first_arg + 1];
  CollectiveName name{image.string(arg.name), image.string(image.groups[row.group].name)};
  Communicator &communicator = *context.communicators[row.group];
  if (row.action == GALVATRON_RT_ACTION_ALL_REDUCE)
    communicator.allReduce(name, in, out, arg.bytes / elementBytes(arg.dtype), arg.dtype,
                           row.monoid);
  else
    communicator.allGather(name, in, out, arg.bytes);
}

void Executor::lookAt(const galvatron_rt_row_record &row) {
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
                                  : concat("function '",
                                           image.string(image.functions[row.function].name), "'"),
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
  std::vector<size_t> order(seconds.size());
  std::iota(order.begin(), order.end(), size_t(0));
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return seconds[a] != seconds[b] ? seconds[a] > seconds[b] : a < b;
  });
  double total = std::accumulate(seconds.begin(), seconds.end(), 0.0);
  std::string text = "      ms     %    calls  function\n";
  for (size_t f : order) {
    if (!calls[f])
      continue;
    char line[64];
    std::snprintf(line, sizeof(line), "%8.3f %5.1f %8lld  ", seconds[f] * 1e3,
                  total > 0 ? seconds[f] / total * 100 : 0, static_cast<long long>(calls[f]));
    text += concat(
        line, context.image.string(context.image.functions[static_cast<int64_t>(f)].name), "\n");
  }
  return text;
}

} // namespace galvatron_rt
