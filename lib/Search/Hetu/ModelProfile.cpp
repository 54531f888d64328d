//===- ModelProfile.cpp - Computation and memory of a model ---------------===//

#include "ProfileObject.h"
#include "galvatron/Search/Hetu/Profiles.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/Path.h"

using namespace llvm;
using namespace galvatron;
using namespace galvatron::hetu;

namespace {

/// "[512,512]", or "512" where all types of layers have one sequence.
std::string nameSequences(ArrayRef<int64_t> sequences) {
  if (sequences.size() == 1)
    return std::to_string(sequences.front());
  std::string text;
  for (int64_t sequence : sequences)
    text += (text.empty() ? "[" : ",") + std::to_string(sequence);
  return text + "]";
}

/// The sequence that a file of v2.4.0 has in its name: "..._seqlen2048.json".
std::string sequenceOfFile(StringRef path) {
  StringRef digits = sys::path::stem(path).rsplit("seqlen").second.take_while(isDigit);
  return digits.str();
}

//===----------------------------------------------------------------------===//
// Computation
//===----------------------------------------------------------------------===//

/// A time of the file: of one sample of a batch.
struct Measured {
  std::string key, type, sequence; // type: "0", "1", ..., "other"
  int64_t batch = 0;               // 0: the file does not say
};

/// "layertype_0_bsz1_seq2048", "layertype_other_0_bsz1", "layertype_0".
std::optional<Measured> parseTime(StringRef key, StringRef sequenceOfFile) {
  Measured found{key.str(), "", sequenceOfFile.str(), 0};
  StringRef rest = key;
  if (!rest.consume_front("layertype_"))
    return std::nullopt;
  SmallVector<StringRef> fields;
  rest.split(fields, '_');
  found.type = fields.front().str();
  for (StringRef field : ArrayRef(fields).drop_front()) {
    if (field.consume_front("bsz")) {
      if (field.getAsInteger(10, found.batch))
        return std::nullopt;
    } else if (field.consume_front("seq")) {
      found.sequence = field.str();
    } else if (!all_of(field, isDigit)) {
      return std::nullopt;
    }
  }
  return found;
}

class ComputationReader {
public:
  ComputationReader(const ProfileObject &file, StringRef path, TimeMode mode) : file(file), path(path), mode(mode) {
    for (const std::string &key : file.getKeys())
      if (std::optional<Measured> time = parseTime(key, sequenceOfFile(path)))
        times.push_back(std::move(*time));
  }
  bool hasType(size_t type) const {
    return any_of(times, [&](const Measured &time) { return time.type == std::to_string(type); });
  }
  /// The time of layers of a type, or of "other", whose polynomial in the sequence is of a degree.
  std::optional<ForwardTime> read(StringRef type, StringRef sequence, unsigned degree) const;

private:
  std::optional<ForwardTime> readBatches(ArrayRef<const Measured *> found, StringRef type, StringRef sequence) const;
  std::optional<ForwardTime> readSequences(ArrayRef<const Measured *> found, StringRef type, StringRef sequence, unsigned degree) const;

  const ProfileObject &file;
  StringRef path;
  TimeMode mode;
  std::vector<Measured> times;
};

std::optional<ForwardTime> ComputationReader::readBatches(ArrayRef<const Measured *> found, StringRef type, StringRef sequence) const {
  constexpr size_t leastBatches = 8;
  std::vector<std::pair<double, double>> points;
  for (const Measured *time : found) {
    if (time->sequence != sequence || time->batch < 1)
      continue;
    std::optional<double> each = file.getNumber(time->key, 0, /*isAbove=*/false);
    if (!each)
      return std::nullopt;
    points.emplace_back(time->batch, static_cast<double>(time->batch) * *each);
  }
  if (points.size() < leastBatches) {
    std::string others;
    for (const Measured *time : found)
      if (time->sequence != sequence && !time->sequence.empty() && !StringRef(others).contains(" " + time->sequence))
        others += (others.empty() ? "; there are some of " : ", ") + time->sequence;
    file.refuse("\"layertype_" + type + "_bsz..._seq" + sequence + "\" has " + Twine(points.size()) + " batch sizes, wanted at least " +
                Twine(leastBatches) + " for the time mode \"batch\"; \"static\" needs one" + others);
    return std::nullopt;
  }
  Polynomial line = fitPolynomial(points, 1);
  return ForwardTime{line.coefficients[1], line.coefficients[0]};
}

std::optional<ForwardTime> ComputationReader::readSequences(ArrayRef<const Measured *> found, StringRef type, StringRef sequence,
                                                            unsigned degree) const {
  std::vector<std::pair<double, double>> points;
  for (const Measured *time : found) {
    int64_t length;
    if (time->batch != 1 || StringRef(time->sequence).getAsInteger(10, length))
      continue;
    std::optional<double> each = file.getNumber(time->key, 0, /*isAbove=*/false);
    if (!each)
      return std::nullopt;
    points.emplace_back(length, *each);
  }
  if (points.size() <= degree) {
    file.refuse("\"layertype_" + type + "_bsz1_seq...\" has " + Twine(points.size()) + " sequences, wanted at least " + Twine(degree + 1));
    return std::nullopt;
  }
  int64_t length = 0;
  bool unknown = sequence.getAsInteger(10, length);
  double each = unknown ? 0 : fitPolynomial(points, degree)(static_cast<double>(length));
  if (each > 0)
    return ForwardTime{each, 0};
  file.refuse("what \"layertype_" + type + "_bsz1_seq...\" says of sequences does not reach to " + sequence);
  return std::nullopt;
}

std::optional<ForwardTime> ComputationReader::read(StringRef type, StringRef sequence, unsigned degree) const {
  SmallVector<const Measured *> found;
  for (const Measured &time : times)
    if (time.type == type)
      found.push_back(&time);
  if (found.empty()) {
    file.refuse("\"layertype_" + type + "_bsz..._seq" + sequence + "\" is missing");
    return std::nullopt;
  }
  switch (mode) {
  case TimeMode::Static: {
    // The first one that says what it is of, whatever that is: so its own reader takes it.
    auto first = llvm::find_if(found, [&](const Measured *time) { return StringRef(time->key).starts_with("layertype_" + type.str() + "_"); });
    std::optional<double> each = file.getNumber((first == found.end() ? found.front() : *first)->key, 0, /*isAbove=*/false);
    return each ? std::optional(ForwardTime{*each, 0}) : std::nullopt;
  }
  case TimeMode::Batch:
    return readBatches(found, type, sequence);
  case TimeMode::Sequence:
    return readSequences(found, type, sequence, degree);
  }
  llvm_unreachable("covered switch");
}

} // namespace

std::optional<ComputationProfile> hetu::readComputationProfile(StringRef path, TimeMode mode, ArrayRef<int64_t> sequences, Report report) {
  std::optional<ProfileObject> file = ProfileObject::read(path, report);
  if (!file)
    return std::nullopt;
  ComputationReader reader(*file, path, mode);
  if (reader.hasType(sequences.size())) {
    file->refuse("times of \"layertype_" + Twine(sequences.size()) + "\", and only models with " + Twine(sequences.size()) + " type of layers are planned");
    return std::nullopt;
  }
  ComputationProfile profile;
  profile.path = path.str();
  // Attention is quadratic in the sequence.
  for (auto [type, sequence] : enumerate(sequences))
    if (std::optional<ForwardTime> time = reader.read(std::to_string(type), std::to_string(sequence), 2))
      profile.layers.push_back(*time);
  std::optional<ForwardTime> other = reader.read("other", nameSequences(sequences), 1);
  if (!other || profile.layers.size() != sequences.size())
    return std::nullopt;
  profile.other = *other;
  return profile;
}

//===----------------------------------------------------------------------===//
// Memory
//===----------------------------------------------------------------------===//

namespace {

class MemoryReader {
public:
  MemoryReader(const ProfileObject &file, StringRef path, MemoryMode mode, bool sequenceParallel)
      : file(file), path(path), mode(mode), suffix(sequenceParallel ? "_sp" : "") {}
  std::optional<LayerMemory> readLayer(int64_t type, int64_t sequence) const;
  std::optional<OtherMemory> readOther(StringRef key, ArrayRef<int64_t> sequences) const;

private:
  /// What is said of a sequence, and by how much its activations are to be multiplied.
  struct OfSequence {
    ProfileObject object;
    double factor;
  };
  std::optional<OfSequence> find(const ProfileObject &all, StringRef sequence) const;
  std::optional<ProfileObject> findSmallest(const ProfileObject &all) const;
  std::optional<MegabytesByDegree> readDegrees(const ProfileObject &object, StringRef key, double factor, double *checkpoint = nullptr) const;

  const ProfileObject &file;
  StringRef path;
  MemoryMode mode;
  StringRef suffix;
};

/// The lengths that are keys of an object.
std::vector<int64_t> listLengths(const ProfileObject &all) {
  std::vector<int64_t> lengths;
  int64_t length;
  for (const std::string &key : all.getKeys())
    if (!StringRef(key).getAsInteger(10, length) && length > 0)
      lengths.push_back(length);
  sort(lengths);
  return lengths;
}

std::optional<MemoryReader::OfSequence> MemoryReader::find(const ProfileObject &all, StringRef sequence) const {
  // Files of v2.4.0 leave it to their name.
  bool isOfFile = all.has("parameter_size") || all.has("model_states");
  if (isOfFile && sequenceOfFile(path) == sequence)
    return OfSequence{all, 1};
  std::vector<int64_t> lengths = listLengths(all);
  if (mode == MemoryMode::Static || lengths.empty()) {
    if (!lengths.empty() && !all.has(sequence)) {
      std::string others;
      for (int64_t length : lengths)
        others += (others.empty() ? "" : ", ") + std::to_string(length);
      all.refuse("\"" + sequence + "\" is missing; there are " + others);
      return std::nullopt;
    }
    std::optional<ProfileObject> object = all.getObject(sequence);
    return object ? std::optional(OfSequence{*object, 1}) : std::nullopt;
  }
  std::optional<ProfileObject> object = all.getObject(std::to_string(lengths.back()));
  int64_t length;
  if (!object || sequence.getAsInteger(10, length))
    return std::nullopt;
  return OfSequence{*object, static_cast<double>(length) / static_cast<double>(lengths.back())};
}

std::optional<ProfileObject> MemoryReader::findSmallest(const ProfileObject &all) const {
  std::vector<int64_t> lengths = listLengths(all);
  return all.getObject(lengths.empty() ? "" : std::to_string(lengths.front()));
}

std::optional<MegabytesByDegree> MemoryReader::readDegrees(const ProfileObject &object, StringRef key, double factor, double *checkpoint) const {
  MegabytesByDegree degrees;
  // The oldest files have one number for all of them.
  if (object.has(key) && !object.isObject(key)) {
    std::optional<double> megabytes = object.getNumber(key, 0, /*isAbove=*/false);
    if (!megabytes)
      return std::nullopt;
    degrees[1] = *megabytes * factor;
    return degrees;
  }
  std::optional<ProfileObject> list = object.getObject(key);
  if (!list)
    return std::nullopt;
  for (const std::string &name : list->getKeys()) {
    int64_t degree;
    bool isCheckpoint = checkpoint && name == "checkpoint";
    if (!isCheckpoint && StringRef(name).getAsInteger(10, degree))
      continue;
    std::optional<double> megabytes = list->getNumber(name, 0, /*isAbove=*/false);
    if (!megabytes)
      return std::nullopt;
    (isCheckpoint ? *checkpoint : degrees[degree]) = *megabytes * factor;
  }
  if (degrees.empty() || (checkpoint && !list->has("checkpoint"))) {
    list->refuse(degrees.empty() ? "\"1\" is missing" : "\"checkpoint\" is missing");
    return std::nullopt;
  }
  return degrees;
}

std::optional<LayerMemory> MemoryReader::readLayer(int64_t type, int64_t sequence) const {
  std::optional<ProfileObject> all = file.getObject(("layertype_" + Twine(type) + suffix).str());
  std::optional<OfSequence> found = all ? find(*all, std::to_string(sequence)) : std::nullopt;
  if (!found)
    return std::nullopt;
  LayerMemory memory;
  std::optional<ProfileObject> smallest = mode == MemoryMode::Sequence && !all->has("parameter_size") ? findSmallest(*all) : found->object;
  std::optional<double> parameters = smallest ? smallest->getNumber("parameter_size", 0, /*isAbove=*/true) : std::nullopt;
  std::optional<MegabytesByDegree> activation = readDegrees(found->object, "tp_activation_per_bsz_dict", found->factor, &memory.checkpoint);
  if (!parameters || !activation)
    return std::nullopt;
  memory.parameters = *parameters;
  memory.activation = std::move(*activation);
  return memory;
}

std::optional<OtherMemory> MemoryReader::readOther(StringRef key, ArrayRef<int64_t> sequences) const {
  std::optional<ProfileObject> all = file.getObject((key + suffix).str());
  std::optional<OfSequence> found = all ? find(*all, nameSequences(sequences)) : std::nullopt;
  if (!found)
    return std::nullopt;
  std::optional<MegabytesByDegree> states = readDegrees(found->object, "model_states", 1);
  std::optional<MegabytesByDegree> activation = readDegrees(found->object, "activation", found->factor);
  if (!states || !activation)
    return std::nullopt;
  return OtherMemory{std::move(*states), std::move(*activation)};
}

} // namespace

std::optional<MemoryProfile> hetu::readMemoryProfile(StringRef path, MemoryMode mode, ArrayRef<int64_t> sequences, bool sequenceParallel,
                                                     Report report) {
  std::optional<ProfileObject> file = ProfileObject::read(path, report);
  if (!file)
    return std::nullopt;
  if (StringRef key = "layertype_0"; sequenceParallel && !file->has((key + "_sp").str()) && file->has(key)) {
    file->refuse("\"layertype_0_sp\" is missing: \"layertype_0\" was measured without sequence parallelism");
    return std::nullopt;
  }
  MemoryReader reader(*file, path, mode, sequenceParallel);
  MemoryProfile profile;
  profile.path = path.str();
  for (auto [type, sequence] : enumerate(sequences))
    if (std::optional<LayerMemory> layer = reader.readLayer(type, sequence))
      profile.layers.push_back(std::move(*layer));
  bool ok = profile.layers.size() == sequences.size();
  for (auto [key, memory] : {std::pair("other_memory_pp_off", &profile.whole), {"other_memory_pp_on_first", &profile.first},
                             {"other_memory_pp_on_last", &profile.last}}) {
    std::optional<OtherMemory> found = reader.readOther(key, sequences);
    ok &= found.has_value();
    if (found)
      *memory = std::move(*found);
  }
  if (!ok)
    return std::nullopt;
  return profile;
}
