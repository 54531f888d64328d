// ImageRows.cpp: checks the rows of a program's tables: what they run, read and write, and whom they
// talk to.
#include "core/Image.h"
#include "core/ImageChecks.h"

#include <algorithm>

namespace galvatron_rt {

using image::bad;
using image::inRange;

/// The arguments are in the arena on every rank.
void Image::checkArgs(const galvatron_rt_row_record &row, const std::string &what) const {
  if (row.n_args < 0 || row.first_arg < 0 || row.first_arg > args.size() - row.n_args)
    bad(what, " has ", row.n_args, " args from ", row.first_arg, " of ", args.size());
  for (int64_t a = 0; a < row.n_args; ++a) {
    const galvatron_rt_arg_record &arg = args[row.first_arg + a];
    std::string argWhat = concat(what, ": arg ", a);
    checkString(arg.name, argWhat);
    int64_t size = elementBytes(arg.dtype);
    if (!size || arg.access < 0 || arg.access > 3)
      bad(argWhat, " has dtype ", arg.dtype, " and access ", arg.access);
    if (arg.n_shifts < 0 || arg.first_shift < 0 || arg.first_shift > shifts.size() - arg.n_shifts)
      bad(argWhat, " has ", arg.n_shifts, " shifts from ", arg.first_shift, " of ", shifts.size());
    checkArenaRange(arg.offset, arg.bytes, argWhat, size);
    int64_t furthest = arg.offset;
    for (const galvatron_rt_shift_record &shift : shifts.slice(arg.first_shift, arg.n_shifts)) {
      if (shift.bytes % size)
        bad(argWhat, " is shifted by ", shift.bytes, " bytes, inside an element of ", size);
      if (shift.bytes > config().arena_bytes / axes[shift.axis].size)
        bad(argWhat, " is shifted out of the arena");
      furthest += (axes[shift.axis].size - 1) * shift.bytes;
    }
    checkArenaRange(furthest, arg.bytes, argWhat, size);
  }
}

void Image::checkCollective(const galvatron_rt_row_record &row, const std::string &what) const {
  if (!inRange(row.group, groups.size()))
    bad(what, " is over group ", row.group, " of ", groups.size());
  if (row.n_args != 2)
    bad(what, " has ", row.n_args, " args, a collective has 2");
  const galvatron_rt_arg_record &in = args[row.first_arg], &out = args[row.first_arg + 1];
  bool isReduce = row.action == GALVATRON_RT_ACTION_ALL_REDUCE;
  if (isReduce && (row.monoid < GALVATRON_RT_MONOID_SUM || row.monoid > GALVATRON_RT_MONOID_MIN))
    bad(what, " has monoid ", row.monoid);
  if (isReduce && in.dtype == GALVATRON_RT_I1)
    bad(what, " reduces i1");
  int64_t pieces = 1;
  if (!isReduce)
    for (int64_t axis : dims(groups[row.group].axes, groups[row.group].n_axes))
      pieces *= axes[axis].size;
  if (in.dtype != out.dtype || in.bytes % elementBytes(in.dtype) || out.bytes % pieces ||
      out.bytes / pieces != in.bytes)
    bad(what, " reads ", in.bytes, " bytes of ", dtypeName(in.dtype), " and writes ", out.bytes,
        " of ", dtypeName(out.dtype));
  // Ranks find each other's memory by the offset, which is the same for all.
  if (in.n_shifts || out.n_shifts)
    bad(what, " has an argument that is shifted");
  bool apart = in.offset + in.bytes <= out.offset || out.offset + out.bytes <= in.offset;
  if (!apart && !(isReduce && in.offset == out.offset))
    bad(what, " has arguments that overlap");
}

/// Each collective is completed, in whatever order, and nobody touches what belongs to it before.
void Image::checkUnderway(const galvatron_rt_row_record &row, const std::string &what,
                          std::vector<const galvatron_rt_row_record *> &collectives) const {
  auto overlap = [](const galvatron_rt_arg_record &one, const galvatron_rt_arg_record &two) {
    return one.offset < two.offset + two.bytes && two.offset < one.offset + one.bytes;
  };
  if (row.action == GALVATRON_RT_ACTION_COMPLETE) {
    if (!inRange(row.group, groups.size()))
      bad(what, " is over group ", row.group, " of ", groups.size());
    if (row.n_args != 1)
      bad(what, " has ", row.n_args, " args, it has 1");
    const galvatron_rt_arg_record &done = args[row.first_arg];
    auto found = std::find_if(collectives.begin(), collectives.end(), [&](const auto *other) {
      const galvatron_rt_arg_record &out = args[other->first_arg + 1];
      return other->group == row.group && out.offset == done.offset && out.bytes == done.bytes;
    });
    if (found == collectives.end())
      bad(what, " completes what no row before it has begun");
    collectives.erase(found);
    return;
  }
  for (int64_t a = 0; a < row.n_args; ++a) {
    const galvatron_rt_arg_record &arg = args[row.first_arg + a];
    for (const galvatron_rt_row_record *other : collectives)
      if (overlap(arg, args[other->first_arg + 1]) ||
          (overlap(arg, args[other->first_arg]) && (arg.access & GALVATRON_RT_ACCESS_WRITE)))
        bad(what, ": arg ", a, " is memory of '", string(other->name), "', which is under way");
  }
  if (row.action == GALVATRON_RT_ACTION_ALL_REDUCE || row.action == GALVATRON_RT_ACTION_ALL_GATHER)
    collectives.push_back(&row);
}

/// The rank that is meant has such a place, and as many messages as are made room for are on their way.
void Image::checkMessage(const galvatron_rt_row_record &row, const std::string &what,
                         std::map<int64_t, int64_t> &underway) const {
  if (!inRange(row.peer, config().stages) || row.peer == config().stage)
    bad(what, " of stage ", config().stage, " names stage ", row.peer, " of ", config().stages);
  if (row.n_args != 1)
    bad(what, " has ", row.n_args, " args, a message has 1");
  if (row.action == GALVATRON_RT_ACTION_RECEIVE)
    return;
  int64_t &count = underway[row.peer];
  count += row.action == GALVATRON_RT_ACTION_SEND ? 1 : -1;
  if (count < 0)
    bad(what, " waits for a message to stage ", row.peer, " that no row before it sends");
  if (count > config().max_sent)
    bad(what, " is message ", count, " on its way to stage ", row.peer, ", max_sent is ",
        config().max_sent);
}

void Image::checkRows(Span<galvatron_rt_row_record> rows, const char *table) const {
  std::map<int64_t, int64_t> underway; // messages to each stage
  std::vector<const galvatron_rt_row_record *> collectives; // that are not complete
  for (int64_t i = 0; i < rows.size(); ++i) {
    const galvatron_rt_row_record &row = rows[i];
    checkString(row.name, concat(table, " row ", i));
    std::string what = concat(table, " row ", i, " ('", string(row.name), "')");
    if (row.micro_batch < -1 || row.micro_batch >= config().micro_batches)
      bad(what, " is for micro-batch ", row.micro_batch, " of ", config().micro_batches);
    switch (row.action) {
    case GALVATRON_RT_ACTION_RUN: {
      if (!inRange(row.function, functions.size()))
        bad(what, " runs function ", row.function, " of ", functions.size());
      int64_t frameBytes = functions[row.function].frame_bytes;
      if (row.frame == -1 && frameBytes)
        bad(what, " has no frame, its function needs ", frameBytes, " bytes");
      if (row.frame != -1)
        checkArenaRange(row.frame, frameBytes, what + ": the frame");
      checkArgs(row, what);
      break;
    }
    case GALVATRON_RT_ACTION_PUBLISH_OUTPUT: {
      bool isOutput = inRange(row.tensor, tensors.size()) &&
                      tensors[row.tensor].role == GALVATRON_RT_ROLE_OUTPUT;
      if (!isOutput || (row.micro_batch == -1 && tensors[row.tensor].batch_dim != -1))
        bad(what, " publishes tensor ", row.tensor, " of micro-batch ", row.micro_batch);
      continue; // has no args
    }
    case GALVATRON_RT_ACTION_PUBLISH_GRADIENTS:
      continue;
    case GALVATRON_RT_ACTION_ALL_REDUCE:
    case GALVATRON_RT_ACTION_ALL_GATHER:
      checkArgs(row, what);
      checkCollective(row, what);
      break;
    case GALVATRON_RT_ACTION_SEND:
    case GALVATRON_RT_ACTION_WAIT_SENT:
    case GALVATRON_RT_ACTION_RECEIVE:
      checkArgs(row, what);
      checkMessage(row, what, underway);
      break;
    case GALVATRON_RT_ACTION_COMPLETE:
      checkArgs(row, what);
      break;
    default:
      bad(what, " has action ", row.action);
    }
    checkUnderway(row, what, collectives);
  }
  if (!collectives.empty())
    bad("the ", table, " table ends before '", string(collectives.front()->name), "' is complete");
  for (auto [stage, count] : underway)
    if (count)
      bad("the ", table, " table ends with ", count, " messages to stage ", stage,
          " that no row waits for");
}

} // namespace galvatron_rt
