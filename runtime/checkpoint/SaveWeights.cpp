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

} // namespace

WeightsSaver::WeightsSaver(galvatron_rt_context &context, const std::string &path, Kind kind)
    : context(context), parts(context.image.saved.size()), buffer(1 << 20) {
  const Image &image = context.image;
  auto wanted = [&](int64_t saved) {
    int64_t savedKind = image.saved[saved].kind;
    return savedKind == GALVATRON_RT_SAVED_TRAINABLE ||
           (kind == Kind::Parameters && savedKind == GALVATRON_RT_SAVED_FROZEN);
  };
  std::vector<int64_t> gradientOf(image.tensors.size(), -1);
  for (const galvatron_rt_state_record &state : image.state)
    if (state.kind == GALVATRON_RT_STATE_GRADIENT)
      gradientOf[state.parameter] = state.tensor;
  for (const galvatron_rt_view_record &view : image.views) {
    if (!view.primary || !wanted(view.saved))
      continue;
    int64_t source = kind == Kind::Gradients ? gradientOf[view.tensor] : view.tensor;
    const void *data = source < 0 ? nullptr : context.tensorData(source);
    parts[view.saved].push_back({makeCursor(image, view), static_cast<const char *>(data)});
  }
  // A tensor that the loss does not depend on has no gradient (in PyTorch it is None); one of which
  // only a part is used has zeros elsewhere.
  auto hasData = [&](int64_t saved) {
    return std::any_of(parts[saved].begin(), parts[saved].end(),
                       [](const Part &part) { return part.data != nullptr; });
  };
  std::vector<SafeTensorsWriter::Entry> entries;
  auto add = [&](int64_t name, int64_t saved) {
    if (!wanted(saved) || !hasData(saved))
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
  writer = std::make_unique<SafeTensorsWriter>(path, entries);
}

void WeightsSaver::writeTensor(int64_t saved) {
  const galvatron_rt_saved_record &record = context.image.saved[saved];
  int64_t bytes = elementBytes(record.dtype);
  int64_t capacity = static_cast<int64_t>(buffer.size()) / bytes, filled = 0;
  int64_t left = elementCount(context.image.dims(record), "a saved tensor");
  for (Part &part : parts[saved])
    part.cursor.rewind();
  // The views partition the tensor (the image was checked), so the next element is always some
  // run's first.
  while (left > 0) {
    Part *next = nullptr;
    for (Part &part : parts[saved])
      if (!part.cursor.done() && (!next || part.cursor.savedBegin() < next->cursor.savedBegin()))
        next = &part;
    int64_t count = std::min(next->cursor.length(), capacity - filled);
    if (next->data)
      gather(next->data, buffer.data() + filled * bytes, next->cursor, count, bytes);
    else
      std::memset(buffer.data() + filled * bytes, 0, static_cast<size_t>(count * bytes));
    next->cursor.advance(count);
    filled += count;
    left -= count;
    if (filled == capacity || left == 0) {
      writer->write(buffer.data(), filled * bytes);
      filled = 0;
    }
  }
}

void WeightsSaver::save() {
  writer->begin();
  for (int64_t saved : order)
    writeTensor(saved);
  writer->commit();
}

} // namespace galvatron_rt
