// LoadWeights.cpp: each saved tensor is read once, in pieces, and scattered to all of its views.
#include "checkpoint/Random.h"
#include "checkpoint/Weights.h"
#include "core/Nearest.h"
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

void fillTensor(galvatron_rt_context &context, int64_t saved, const PieceReader &readPiece) {
  const Image &image = context.image;
  const galvatron_rt_saved_record &record = image.saved[saved];
  struct Target {
    ViewCursor cursor;
    char *data;
  };
  std::vector<Target> targets;
  std::vector<int64_t> coordinates = image.coordinates(context.rank);
  for (const galvatron_rt_view_record &view : image.views)
    if (view.saved == saved)
      targets.push_back(
          {makeCursor(image, view, coordinates), static_cast<char *>(context.tensorData(view.tensor))});
  int64_t bytes = elementBytes(record.dtype);
  int64_t total = elementCount(image.dims(record), "a saved tensor");
  std::vector<char> piece(std::min(total, pieceElements) * bytes);
  for (int64_t begin = 0; begin < total; begin += pieceElements) {
    int64_t end = std::min(begin + pieceElements, total);
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

bool isConvertible(FileDtype from, int64_t to) {
  if (from == fileDtype(to))
    return true;
  return to == GALVATRON_RT_F32 && (from == FileDtype::F16 || from == FileDtype::BF16);
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

/// Problems of one kind with the tensors of a file. The first few are told: the file of another
/// model has hundreds.
class ProblemList {
public:
  explicit ProblemList(const char *others) : others(others) {}

  bool isFull() const { return count >= most; }
  void add(const std::string &problem) {
    if (++count <= most)
      lines.push_back(problem);
  }
  /// One line per problem, and one for all that were not told.
  std::string text(const std::string &path) const {
    std::string all;
    for (const std::string &line : lines)
      all += concat("file '", path, "': ", line, "\n");
    if (count > most)
      all += concat("file '", path, "': and ", count - most, " more ", others, "\n");
    return all;
  }

private:
  static constexpr int64_t most = 5;
  const char *others;
  int64_t count = 0;
  std::vector<std::string> lines;
};

/// What a file gives for the image: which entries fill which saved tensor.
class Matching {
public:
  Matching(const Image &image, const SafeTensorsReader &file, LoadScope scope)
      : image(image), file(file) {
    found.resize(image.saved.size());
    for (int64_t i = 0; i < image.saved.size(); ++i)
      savedOf[image.string(image.saved[i].name)] = i;
    for (const galvatron_rt_alias_record &alias : image.aliases)
      savedOf[image.string(alias.name)] = alias.saved;
    for (const auto &[name, entry] : file.entries())
      takeEntry(name, entry);
    for (int64_t i = 0; i < image.saved.size(); ++i) {
      bool isConstant = image.saved[i].kind == GALVATRON_RT_SAVED_CONSTANT;
      if (scope == LoadScope::Constants && !isConstant)
        found[i].clear();
      else if (found[i].empty() && !(scope == LoadScope::Parameters && isConstant))
        lacking.add(concat("lacks tensor '", image.string(image.saved[i].name), "' of shape ",
                           shapeText(image.dims(image.saved[i]))));
    }
    std::string problems =
        unknown.text(file.path()) + different.text(file.path()) + lacking.text(file.path());
    if (!problems.empty())
      fail(problems.substr(0, problems.size() - 1));
  }

  const std::vector<const std::pair<const std::string, SafeTensorsReader::Entry> *> &
  entriesOf(int64_t saved) const {
    return found[saved];
  }

private:
  void takeEntry(const std::string &name, const SafeTensorsReader::Entry &entry) {
    auto known = savedOf.find(name);
    if (known == savedOf.end())
      return unknown.add(concat("tensor '", name, "' is not in the model", nearest(name)));
    const galvatron_rt_saved_record &record = image.saved[known->second];
    Dims dims = image.dims(record);
    if (entry.shape != std::vector<int64_t>(dims.begin(), dims.end()))
      return different.add(concat("tensor '", name, "' has shape ", shapeText(entry.shape),
                                  ", wanted ", shapeText(dims)));
    if (!isConvertible(entry.dtype, record.dtype))
      return different.add(concat("tensor '", name, "' has dtype ", fileDtypeName(entry.dtype),
                                  ", wanted ", fileDtypeName(fileDtype(record.dtype))));
    found[known->second].push_back(&*file.entries().find(name));
  }

  std::string nearest(const std::string &name) const {
    if (unknown.isFull())
      return "";
    std::vector<std::string> names;
    for (const auto &[candidate, saved] : savedOf)
      names.push_back(candidate);
    std::string best = nearestName(name, names);
    return best.empty() ? "" : concat("; the nearest name is '", best, "'");
  }

  const Image &image;
  const SafeTensorsReader &file;
  std::map<std::string, int64_t> savedOf;
  std::vector<std::vector<const std::pair<const std::string, SafeTensorsReader::Entry> *>> found;
  ProblemList unknown{"tensors are not in the model"}, different{"tensors have another shape or dtype"},
      lacking{"tensors are lacking"};
};

} // namespace

void loadWeights(galvatron_rt_context &context, const std::string &path, LoadScope scope) {
  const Image &image = context.image;
  SafeTensorsReader file(path);
  Matching matching(image, file, scope);
  for (int64_t i = 0; i < image.saved.size(); ++i) {
    const auto &entries = matching.entriesOf(i);
    if (entries.empty())
      continue;
    int64_t bytes = elementBytes(image.saved[i].dtype);
    std::vector<char> other(entries.size() > 1 ? pieceElements * bytes : 0);
    fillTensor(context, i, [&](int64_t begin, int64_t count, char *out) {
      readConverted(file, entries[0]->second, begin, count, out);
      for (size_t e = 1; e < entries.size(); ++e) {
        readConverted(file, entries[e]->second, begin, count, other.data());
        if (std::memcmp(out, other.data(), count * bytes) != 0)
          fail("file '", path, "': tensors '", entries[0]->first, "' and '", entries[e]->first,
               "' are one in this model, but differ");
      }
    });
  }
}

void randomWeights(galvatron_rt_context &context) {
  const Image &image = context.image;
  uint64_t seed = static_cast<uint64_t>(image.config().random_seed);
  int64_t threads = image.config().threads;
  for (int64_t i = 0; i < image.saved.size(); ++i) {
    const galvatron_rt_saved_record &record = image.saved[i];
    uint64_t stream = randomStream(image.string(record.name));
    fillTensor(context, i, [&](int64_t begin, int64_t count, char *out) {
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
}

bool hasConstants(const Image &image) {
  return std::any_of(image.saved.begin(), image.saved.end(),
                     [](const galvatron_rt_saved_record &record) {
                       return record.kind == GALVATRON_RT_SAVED_CONSTANT;
                     });
}

} // namespace galvatron_rt
