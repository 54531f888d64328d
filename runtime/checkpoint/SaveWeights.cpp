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
void WeightsSaver::addPieces(Stored &stored, const Item::Part &part) {
  const Image &image = context.image;
  std::vector<int64_t> place(static_cast<size_t>(image.axes.size()), 0), sizes(place.size(), 1);
  for (const galvatron_rt_split_record &split : image.splits)
    if (split.tensor == part.view->tensor) {
      sizes[static_cast<size_t>(split.axis)] = image.axes[split.axis].size;
      stored.isSplit = true;
    }
  const char *data =
      part.tensor < 0 ? nullptr : static_cast<const char *>(context.tensorData(part.tensor));
  std::vector<int64_t> mine = image.coordinates(context.rank);
  // On a rank of this stage.
  for (int64_t axis = 0; axis < image.stageAxes(); ++axis)
    place[static_cast<size_t>(axis)] = mine[static_cast<size_t>(axis)];
  do {
    stored.pieces.push_back({makeCursor(image, *part.view, place), place == mine ? data : nullptr});
  } while (nextPlace(place, sizes));
}

void WeightsSaver::addItem(const Item &item) {
  contents.push_back({item.saved, {}, context.image.config().stages > 1});
  // What ranks make together is the content of the primary views: they partition the saved tensor.
  for (const Item::Part &part : item.parts)
    if (part.view->primary == 1)
      addPieces(contents.back(), part);
}

WeightsSaver::WeightsSaver(galvatron_rt_context &context, const std::string &path, Kind kind)
    : context(context), pulse(context, "a file that the first rank writes"),
      hasStep(kind == Kind::Checkpoint) {
  const Image &image = context.image;
  bool isFirst = context.rank == 0;
  if (image.hasPieces()) {
    buffer = context.arena.data() + image.config().staging_offset;
    bufferBytes = image.config().staging_bytes;
    isHelper = image.members(image.config().staging_group, context.rank).front() == 0;
  } else {
    bufferBytes = 1 << 20;
    own.resize(isFirst ? static_cast<size_t>(bufferBytes) : 0);
    buffer = own.data();
  }
  std::vector<Item> items;
  auto add = [&](Content content, bool withFrozen) {
    for (Item &item : itemsOf(image, content)) {
      int64_t savedKind = image.saved[item.saved].kind;
      if (savedKind == GALVATRON_RT_SAVED_TRAINABLE ||
          (withFrozen && savedKind == GALVATRON_RT_SAVED_FROZEN))
        items.push_back(std::move(item));
    }
  };
  add(kind == Kind::Gradients ? Content::Gradient : Content::Values,
      kind != Kind::Gradients);
  if (kind == Kind::Checkpoint)
    for (Content content : stateContents)
      add(content, false);
  std::vector<SafeTensorsWriter::Entry> entries;
  if (hasStep)
    entries.push_back({stepName, FileDtype::I64, {}});
  auto addEntry = [&](size_t i, const std::string &name) {
    const galvatron_rt_saved_record &saved = image.saved[items[i].saved];
    Dims dims = image.dims(saved);
    entries.push_back({name, fileDtype(saved.dtype), std::vector<int64_t>(dims.begin(), dims.end())});
    order.push_back(i);
  };
  for (size_t i = 0; i < items.size(); ++i) {
    addItem(items[i]);
    addEntry(i, items[i].names[0]);
  }
  // A tied weight is written under all of its names, its state, of which PyTorch has one, under one.
  for (size_t i = 0; i < items.size(); ++i)
    for (size_t name = 1; name < items[i].names.size(); ++name)
      if (items[i].content == Content::Values ||
          items[i].content == Content::Gradient)
        addEntry(i, items[i].names[name]);
  if (isFirst)
    writer = std::make_unique<SafeTensorsWriter>(path, entries);
}

/// Writes what is in the buffer. If ranks have pieces of it, every byte is that of one of them and
/// zero on the others: their sum, as integers, is the whole.
void WeightsSaver::flush(bool isShared, int64_t bytes) {
  if (isShared && isHelper) {
    int64_t words = (bytes + 7) / 8;
    std::memset(buffer + bytes, 0, static_cast<size_t>(words * 8 - bytes));
    context.communicators[static_cast<size_t>(context.image.config().staging_group)]->run(
        Collective::allReduce({"a saved tensor", "the ranks that share it"}, buffer, buffer, words,
                              GALVATRON_RT_I64, GALVATRON_RT_MONOID_SUM));
  }
  if (writer)
    writer->write(buffer, bytes);
  if (!pulse.isDue(bytes))
    return;
  // What is left to sync at the end is little then.
  if (writer)
    writer->sync();
  pulse.meet();
}

void WeightsSaver::writeStored(Stored &stored) {
  const galvatron_rt_saved_record &record = context.image.saved[stored.saved];
  int64_t bytes = elementBytes(record.dtype);
  int64_t capacity = bufferBytes / bytes, filled = 0;
  int64_t left = elementCount(context.image.dims(record), "a saved tensor");
  bool isGathering = writer || (stored.isSplit && isHelper);
  for (Piece &piece : stored.pieces)
    piece.cursor.rewind();
  // The pieces of all stages partition the tensor (the images were checked): what no run here begins
  // with, another stage has.
  int64_t position = 0;
  while (left > 0) {
    int64_t count = std::min(left, capacity - filled);
    if (isGathering) {
      Piece *next = nullptr;
      for (Piece &piece : stored.pieces)
        if (!piece.cursor.done() &&
            (!next || piece.cursor.savedBegin() < next->cursor.savedBegin()))
          next = &piece;
      bool isHere = next && next->cursor.savedBegin() == position;
      if (next)
        count = std::min(count,
                         isHere ? next->cursor.length() : next->cursor.savedBegin() - position);
      if (isHere && next->data)
        gather(next->data, buffer + filled * bytes, next->cursor, count, bytes);
      else
        std::memset(buffer + filled * bytes, 0, static_cast<size_t>(count * bytes));
      if (isHere)
        next->cursor.advance(count);
    }
    position += count;
    filled += count;
    left -= count;
    if (filled == capacity || left == 0) {
      flush(stored.isSplit, filled * bytes);
      filled = 0;
    }
  }
}

void WeightsSaver::write() {
  if (writer) {
    writer->begin();
    if (hasStep)
      writer->write(&step, 8);
  }
  for (size_t i : order)
    writeStored(contents[i]);
  if (writer)
    writer->commit();
  pulse.meet();
}

void WeightsSaver::save() { write(); }

void WeightsSaver::save(const std::string &path, int64_t number) {
  step = number;
  if (writer)
    writer->setPath(path);
  write();
}

} // namespace galvatron_rt
