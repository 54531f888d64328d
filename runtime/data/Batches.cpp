// Batches.cpp: see Batches.h.
#include "data/Batches.h"

#include <algorithm>

namespace galvatron_rt {

Batches::Batches(const Image &image, const std::string &directory) {
  std::string problems;
  for (int64_t i = 0; i < image.tensors.size(); ++i) {
    const galvatron_rt_tensor_record &tensor = image.tensors[i];
    if (tensor.role != GALVATRON_RT_ROLE_INPUT && tensor.role != GALVATRON_RT_ROLE_LABELS)
      continue;
    Dims dims = image.dims(tensor);
    try {
      sources.push_back({i, NpyFile(concat(directory, "/", image.string(tensor.name), ".npy"),
                                    tensor.dtype, std::vector<int64_t>(dims.begin(), dims.end()))});
    } catch (const Error &e) {
      problems += concat(problems.empty() ? "" : "\n", e.what());
    }
  }
  if (!problems.empty())
    fail(problems);
  if (sources.empty())
    return;
  batchCount = sources[0].file.records();
  for (const Source &source : sources)
    if (source.file.records() != batchCount)
      fail("directory '", directory, "': '", image.string(image.tensors[source.tensor].name),
           ".npy' has ", source.file.records(), " steps, '",
           image.string(image.tensors[sources[0].tensor].name), ".npy' has ", batchCount);
}

bool Batches::reads(const std::string &path) const {
  for (const Source &source : sources)
    if (isSameFile(path, source.file.path()))
      return true;
  return false;
}

void Batches::fill(galvatron_rt_context &context, int64_t index) const {
  for (const Source &source : sources)
    if (context.image.tensors[source.tensor].offset >= 0)
      source.file.read(index % batchCount, context.tensorData(source.tensor));
}

std::string Batches::placesOf(const Image &image, int64_t index, int64_t value) const {
  std::string places;
  for (const Source &source : sources) {
    const galvatron_rt_tensor_record &tensor = image.tensors[source.tensor];
    if (tensor.dtype != GALVATRON_RT_I64)
      continue;
    // From the file, as a user sees it: a rank has a piece, in another order.
    std::vector<int64_t> values(static_cast<size_t>(tensor.bytes / 8));
    source.file.read(index % batchCount, values.data());
    auto found = std::find(values.begin(), values.end(), value);
    if (found == values.end())
      continue;
    Dims dims = image.dims(tensor);
    std::vector<int64_t> place(dims.begin(), dims.end());
    int64_t rest = found - values.begin();
    for (auto dim = place.rbegin(); dim != place.rend(); ++dim) {
      int64_t size = *dim;
      *dim = rest % size;
      rest /= size;
    }
    place.insert(place.begin(), index % batchCount);
    places += concat(places.empty() ? "" : ", ", "'", source.file.path(), "' at ", shapeText(place));
  }
  return places;
}

int64_t Batches::countedLabels(const Image &image, int64_t index, int64_t ignored) const {
  for (const Source &source : sources) {
    const galvatron_rt_tensor_record &tensor = image.tensors[source.tensor];
    if (tensor.role != GALVATRON_RT_ROLE_LABELS || tensor.dtype != GALVATRON_RT_I64)
      continue;
    // From the file: not every stage has labels in its arena.
    std::vector<int64_t> labels(static_cast<size_t>(tensor.bytes / 8));
    source.file.read(index % batchCount, labels.data());
    return std::count_if(labels.begin(), labels.end(), [&](int64_t label) { return label != ignored; });
  }
  return 1;
}

} // namespace galvatron_rt
