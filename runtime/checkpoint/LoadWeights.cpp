// LoadWeights.cpp: each tensor of a file is read once, in pieces, and scattered to all views of it. A
// rank passes over pieces of which it has nothing.
#include "checkpoint/Random.h"
#include "checkpoint/Weights.h"
#include "core/Threads.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>

namespace galvatron_rt {
namespace {

constexpr int64_t pieceElements = 128 << 10;

/// Elements [begin, begin + count) of a saved tensor, in the saved tensor's dtype.
using PieceReader = std::function<void(int64_t begin, int64_t count, char *out)>;

template <typename T>
void scatterRun(char *tensor, const char *values, const ViewCursor &cursor, int64_t count) {
  T *to = reinterpret_cast<T *>(tensor) + cursor.tensorBegin();
  const T *from = reinterpret_cast<const T *>(values);
  for (int64_t i = 0; i < count; ++i)
    to[i * cursor.tensorStep()] = from[i];
}

void scatter(char *tensor, const char *values, const ViewCursor &cursor, int64_t count,
             int64_t bytes) {
  if (bytes == 8)
    scatterRun<int64_t>(tensor, values, cursor, count);
  else if (bytes == 4)
    scatterRun<int32_t>(tensor, values, cursor, count);
  else
    scatterRun<char>(tensor, values, cursor, count);
}

/// Fills what this rank has of an item; `readPiece` is asked for what is needed, in order.
void fillItem(galvatron_rt_context &context, const Item &item, Pulse &pulse,
              const PieceReader &readPiece) {
  const Image &image = context.image;
  const galvatron_rt_saved_record &record = image.saved[item.saved];
  struct Target {
    ViewCursor cursor;
    char *data;
  };
  std::vector<Target> targets;
  std::vector<int64_t> coordinates = image.coordinates(context.rank);
  for (const Item::Part &part : item.parts)
    if (part.tensor >= 0)
      targets.push_back({makeCursor(image, *part.view, coordinates),
                         static_cast<char *>(context.tensorData(part.tensor))});
  int64_t bytes = elementBytes(record.dtype);
  int64_t total = elementCount(image.dims(record), "a saved tensor");
  std::vector<char> piece(std::min(total, pieceElements) * bytes);
  for (int64_t begin = 0; begin < total; begin += pieceElements) {
    int64_t end = std::min(begin + pieceElements, total);
    if (pulse.isDue((end - begin) * bytes))
      pulse.meet();
    if (std::none_of(targets.begin(), targets.end(), [&](const Target &target) {
          return !target.cursor.done() && target.cursor.savedBegin() < end;
        }))
      continue; // another rank's
    readPiece(begin, end - begin, piece.data());
    for (Target &target : targets)
      while (!target.cursor.done() && target.cursor.savedBegin() < end) {
        int64_t count = std::min(target.cursor.length(), end - target.cursor.savedBegin());
        scatter(target.data, piece.data() + (target.cursor.savedBegin() - begin) * bytes,
                target.cursor, count, bytes);
        target.cursor.advance(count);
      }
  }
}

float halfToFloat(uint16_t half) {
  uint32_t sign = uint32_t(half & 0x8000) << 16, exponent = half >> 10 & 31,
           fraction = half & 0x3ff;
  float value;
  if (exponent == 0) {
    value = std::ldexp(static_cast<float>(fraction), -24);
  } else {
    uint32_t bits = (exponent == 31 ? 255u << 23 : (exponent + 112) << 23) | fraction << 13;
    std::memcpy(&value, &bits, 4);
  }
  return sign ? -value : value;
}

float brainToFloat(uint16_t brain) {
  uint32_t bits = uint32_t(brain) << 16;
  float value;
  std::memcpy(&value, &bits, 4);
  return value;
}

void readConverted(const SafeTensorsReader &file, const SafeTensorsReader::Entry &entry,
                   int64_t begin, int64_t count, char *out) {
  int64_t bytes = fileDtypeBytes(entry.dtype);
  if (entry.dtype != FileDtype::F16 && entry.dtype != FileDtype::BF16)
    return file.read(entry, begin * bytes, out, count * bytes);
  // The 16-bit values are read into the upper half of the buffer and widened from the front.
  char *source = out + count * 2;
  file.read(entry, begin * bytes, source, count * bytes);
  for (int64_t i = 0; i < count; ++i) {
    uint16_t word;
    std::memcpy(&word, source + i * 2, 2);
    float value = entry.dtype == FileDtype::F16 ? halfToFloat(word) : brainToFloat(word);
    std::memcpy(out + i * 4, &value, 4);
  }
}

} // namespace

void loadWeights(galvatron_rt_context &context, const std::string &path, LoadScope scope) {
  SafeTensorsReader file(path);
  Matching matching(context.image, file, scope);
  Pulse pulse(context, "a file that all ranks read");
  for (const Matching::Match &match : matching.matches()) {
    const auto &entries = match.entries;
    int64_t bytes = elementBytes(context.image.saved[match.item.saved].dtype);
    std::vector<char> other(entries.size() > 1 ? pieceElements * bytes : 0);
    fillItem(context, match.item, pulse, [&](int64_t begin, int64_t count, char *out) {
      readConverted(file, entries[0]->second, begin, count, out);
      for (size_t e = 1; e < entries.size(); ++e) {
        readConverted(file, entries[e]->second, begin, count, other.data());
        if (std::memcmp(out, other.data(), count * bytes) != 0)
          fail("file '", path, "': tensors '", entries[0]->first, "' and '", entries[e]->first,
               "' are one in this model, but differ");
      }
    });
  }
  pulse.meet();
}

void checkCheckpoint(const Image &image, const std::string &path) {
  SafeTensorsReader file(path);
  Matching matching(image, file, LoadScope::Checkpoint);
}

int64_t readStep(const std::string &path) {
  SafeTensorsReader file(path);
  auto entry = file.entries().find(stepName);
  if (entry == file.entries().end())
    fail("file '", path, "': not a checkpoint: it lacks tensor '", stepName,
         "', the number of steps that it was written after");
  if (entry->second.dtype != FileDtype::I64 || !entry->second.shape.empty())
    fail("file '", path, "': tensor '", stepName, "' has dtype ", fileDtypeName(entry->second.dtype),
         " and shape ", shapeText(entry->second.shape), ", wanted I64 and []");
  int64_t step;
  file.read(entry->second, 0, &step, 8);
  return step;
}

void randomWeights(galvatron_rt_context &context, bool onlyConstants) {
  const Image &image = context.image;
  uint64_t seed = static_cast<uint64_t>(image.config().random_seed);
  int64_t threads = image.config().threads;
  Pulse pulse(context, "the weights that all ranks make");
  for (const Item &item : itemsOf(image, Content::Values)) {
    const galvatron_rt_saved_record &record = image.saved[item.saved];
    if (onlyConstants && record.kind != GALVATRON_RT_SAVED_CONSTANT)
      continue;
    uint64_t stream = randomStream(image.string(record.name));
    fillItem(context, item, pulse, [&](int64_t begin, int64_t count, char *out) {
      switch (static_cast<galvatron_rt_init>(record.init)) {
      case GALVATRON_RT_INIT_ZERO:
        std::memset(out, 0, count * elementBytes(record.dtype));
        return;
      case GALVATRON_RT_INIT_ONE:
        if (record.dtype == GALVATRON_RT_F32)
          std::fill_n(reinterpret_cast<float *>(out), count, 1.0f);
        else if (record.dtype == GALVATRON_RT_I64)
          std::fill_n(reinterpret_cast<int64_t *>(out), count, int64_t(1));
        else
          std::memset(out, 1, count);
        return;
      case GALVATRON_RT_INIT_NORMAL:
        if (record.dtype != GALVATRON_RT_F32)
          fail("saved tensor '", image.string(record.name), "' is ", dtypeName(record.dtype),
               " and cannot be filled with normal values");
        onEachThread(threads, [&](int64_t thread) {
          Range range = splitRange(count, 1024, thread, threads);
          if (range.begin < range.end)
            fillNormal(seed, stream, begin + range.begin, range.end - range.begin, 0.02f,
                       reinterpret_cast<float *>(out) + range.begin);
        });
        return;
      }
    });
  }
  pulse.meet();
}

bool hasConstants(const Image &image) {
  return std::any_of(image.saved.begin(), image.saved.end(),
                     [](const galvatron_rt_saved_record &record) {
                       return record.kind == GALVATRON_RT_SAVED_CONSTANT;
                     });
}

} // namespace galvatron_rt
