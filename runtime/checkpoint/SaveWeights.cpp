// SaveWeights.cpp: each saved tensor is gathered from its primary views in the file's order,
// through one buffer.
#include "checkpoint/Weights.h"

#include <algorithm>
#include <cstring>

namespace galvatron_rt {
namespace {

template <typename T>
void gatherRun(const char *tensor, char *out, const ViewCursor &cursor, int64_t count) {
  const T *from = reinterpret_cast<const T *>(tensor) + cursor.tensorBegin();
  T *to = reinterpret_cast<T *>(out);
  for (int64_t i = 0; i < count; ++i)
    to[i] = from[i * cursor.tensorStep()];
}

void gather(const char *tensor, char *out, const ViewCursor &cursor, int64_t count, int64_t bytes) {
  if (bytes == 8)
    gatherRun<int64_t>(tensor, out, cursor, count);
  else if (bytes == 4)
    gatherRun<int32_t>(tensor, out, cursor, count);
  else
    gatherRun<char>(tensor, out, cursor, count);
}

/// Goes to the next place on a grid of these sizes, the last dimension counting fastest; false at
/// its end.
bool nextPlace(std::vector<int64_t> &place, const std::vector<int64_t> &sizes) {
  for (size_t d = place.size(); d-- > 0;) {
    if (sizes[d] == 1)
      continue;
    if (++place[d] < sizes[d])
      return true;
    place[d] = 0;
  }
  return false;
}

} // namespace

/// The pieces of all ranks, of which this one has one. What several have, the first of them gives.
void WeightsSaver::addParts(const galvatron_rt_view_record &view, const void *data) {
  const Image &image = context.image;
  std::vector<int64_t> place(static_cast<size_t>(image.axes.size()), 0), sizes(place.size(), 1);
  for (const galvatron_rt_split_record &split : image.splits)
    if (split.tensor == view.tensor) {
      sizes[static_cast<size_t>(split.axis)] = image.axes[split.axis].size;
      isSplit[static_cast<size_t>(view.saved)] = true;
    }
  std::vector<int64_t> mine = image.coordinates(context.rank);
  // On a rank of this stage.
  for (int64_t axis = 0; axis < image.stageAxes(); ++axis)
    place[static_cast<size_t>(axis)] = mine[static_cast<size_t>(axis)];
  do {
    parts[static_cast<size_t>(view.saved)].push_back(
        {makeCursor(image, view, place), place == mine ? static_cast<const char *>(data) : nullptr});
  } while (nextPlace(place, sizes));
}

WeightsSaver::WeightsSaver(galvatron_rt_context &context, const std::string &path, Kind kind)
    : context(context), parts(context.image.saved.size()), isSplit(context.image.saved.size(), context.image.config().stages > 1) {
  const Image &image = context.image;
  if (image.hasPieces()) {
    buffer = context.arena.data() + image.config().staging_offset;
    bufferBytes = image.config().staging_bytes;
  } else {
    own.resize(1 << 20);
    buffer = own.data();
    bufferBytes = static_cast<int64_t>(own.size());
  }
  auto wanted = [&](int64_t saved) {
    int64_t savedKind = image.saved[saved].kind;
    return savedKind == GALVATRON_RT_SAVED_TRAINABLE ||
           (kind == Kind::Parameters && savedKind == GALVATRON_RT_SAVED_FROZEN);
  };
  std::vector<int64_t> gradientOf(image.tensors.size(), -1);
  for (const galvatron_rt_state_record &state : image.state)
    if (state.kind == GALVATRON_RT_STATE_GRADIENT)
      gradientOf[state.parameter] = state.tensor;
  // A tensor that the loss does not depend on has no gradient (in PyTorch it is None); one of which
  // only a part is used has zeros elsewhere.
  std::vector<bool> hasData(image.saved.size());
  for (int64_t i = 0; i < image.saved.size(); ++i)
    hasData[static_cast<size_t>(i)] = kind != Kind::Gradients || image.saved[i].has_gradient;
  for (const galvatron_rt_view_record &view : image.views) {
    if (!view.primary || !wanted(view.saved))
      continue;
    int64_t source = kind == Kind::Gradients ? gradientOf[view.tensor] : view.tensor;
    addParts(view, source < 0 ? nullptr : context.tensorData(source));
  }
  std::vector<SafeTensorsWriter::Entry> entries;
  auto add = [&](int64_t name, int64_t saved) {
    if (!wanted(saved) || !hasData[static_cast<size_t>(saved)])
      return;
    Dims dims = image.dims(image.saved[saved]);
    entries.push_back({image.string(name), fileDtype(image.saved[saved].dtype),
                       std::vector<int64_t>(dims.begin(), dims.end())});
    order.push_back(saved);
  };
  for (int64_t i = 0; i < image.saved.size(); ++i)
    add(image.saved[i].name, i);
  for (const galvatron_rt_alias_record &alias : image.aliases)
    add(alias.name, alias.saved);
  if (context.rank == 0)
    writer = std::make_unique<SafeTensorsWriter>(path, entries);
}

/// Writes what is in the buffer. If ranks have pieces of it, every byte is that of one of them and
/// zero on the others: their sum, as integers, is the whole.
void WeightsSaver::flush(bool isShared, int64_t bytes) {
  if (isShared) {
    int64_t words = (bytes + 7) / 8;
    std::memset(buffer + bytes, 0, static_cast<size_t>(words * 8 - bytes));
    context.communicators[static_cast<size_t>(context.image.config().staging_group)]->allReduce(
        {"a saved tensor", "the ranks that share it"}, buffer, buffer, words, GALVATRON_RT_I64,
        GALVATRON_RT_MONOID_SUM);
  }
  if (writer)
    writer->write(buffer, bytes);
}

void WeightsSaver::writeTensor(int64_t saved) {
  bool isShared = isSplit[static_cast<size_t>(saved)];
  if (!isShared && !writer)
    return;
  const galvatron_rt_saved_record &record = context.image.saved[saved];
  int64_t bytes = elementBytes(record.dtype);
  int64_t capacity = bufferBytes / bytes, filled = 0;
  int64_t left = elementCount(context.image.dims(record), "a saved tensor");
  for (Part &part : parts[saved])
    part.cursor.rewind();
  // The pieces of all stages partition the tensor (the images were checked): what no run here begins with, another
  // stage has.
  int64_t position = 0;
  while (left > 0) {
    Part *next = nullptr;
    for (Part &part : parts[saved])
      if (!part.cursor.done() && (!next || part.cursor.savedBegin() < next->cursor.savedBegin()))
        next = &part;
    int64_t count = std::min(capacity - filled, left);
    bool isHere = next && next->cursor.savedBegin() == position;
    if (next)
      count = std::min(count, isHere ? next->cursor.length() : next->cursor.savedBegin() - position);
    if (isHere && next->data)
      gather(next->data, buffer + filled * bytes, next->cursor, count, bytes);
    else
      std::memset(buffer + filled * bytes, 0, static_cast<size_t>(count * bytes));
    if (isHere)
      next->cursor.advance(count);
    position += count;
    filled += count;
    left -= count;
    if (filled == capacity || left == 0) {
      flush(isShared, filled * bytes);
      filled = 0;
    }
  }
}

void WeightsSaver::save() {
  if (writer)
    writer->begin();
  for (int64_t saved : order)
    writeTensor(saved);
  if (writer)
    writer->commit();
}

} // namespace galvatron_rt
