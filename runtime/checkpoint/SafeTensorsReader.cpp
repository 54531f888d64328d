// SafeTensorsReader.cpp: the header is taken from a stranger: every number in it is checked against
// the file's size before it is used.
#include "checkpoint/SafeTensors.h"
#include "core/Error.h"
#include "galvatron_rt.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

namespace galvatron_rt {
namespace {

using Json = nlohmann::json;

struct DtypeRow {
  FileDtype dtype;
  const char *name;
  int64_t bytes;
};

const DtypeRow dtypes[] = {
    {FileDtype::F64, "F64", 8},   {FileDtype::F32, "F32", 4}, {FileDtype::F16, "F16", 2},
    {FileDtype::BF16, "BF16", 2}, {FileDtype::I64, "I64", 8}, {FileDtype::I32, "I32", 4},
    {FileDtype::I16, "I16", 2},   {FileDtype::I8, "I8", 1},   {FileDtype::U8, "U8", 1},
    {FileDtype::Bool, "BOOL", 1},
};

const DtypeRow &rowOf(FileDtype dtype) {
  return *std::find_if(std::begin(dtypes), std::end(dtypes),
                       [&](const DtypeRow &row) { return row.dtype == dtype; });
}

/// Parses, refusing a name that stands twice (the JSON library would keep the last).
Json parseHeader(const std::string &text, const std::string &path) {
  std::set<std::string> names;
  std::string twice;
  auto watch = [&](int depth, Json::parse_event_t event, Json &parsed) {
    if (depth == 1 && event == Json::parse_event_t::key &&
        !names.insert(parsed.get<std::string>()).second)
      twice = parsed.get<std::string>();
    return true;
  };
  Json header;
  try {
    header = Json::parse(text, watch);
  } catch (const Json::exception &) {
    fail("file '", path, "': its header is not JSON");
  }
  if (!twice.empty())
    fail("file '", path, "': the name '", twice, "' stands twice in its header");
  if (!header.is_object())
    fail("file '", path, "': its header is no JSON object");
  return header;
}

int64_t number(const Json &value, const std::string &what) {
  if (!value.is_number_unsigned() || value.get<uint64_t>() > uint64_t(INT64_MAX))
    fail(what, " is no count: ", value.dump());
  return static_cast<int64_t>(value.get<uint64_t>());
}

SafeTensorsReader::Entry parseEntry(const Json &value, const std::string &what, int64_t dataBegin,
                                    int64_t size) {
  SafeTensorsReader::Entry entry;
  if (!value.is_object() || !value.contains("dtype") || !value["dtype"].is_string() ||
      !value.contains("shape") || !value["shape"].is_array() || !value.contains("data_offsets") ||
      !value["data_offsets"].is_array() || value["data_offsets"].size() != 2)
    fail(what, " lacks a dtype, a shape or two data_offsets");
  std::string dtype = value["dtype"];
  const DtypeRow *row =
      std::find_if(std::begin(dtypes), std::end(dtypes),
                   [&](const DtypeRow &candidate) { return dtype == candidate.name; });
  if (row == std::end(dtypes))
    fail(what, " has the unknown dtype '", dtype, "'");
  entry.dtype = row->dtype;
  int64_t bytes = row->bytes;
  for (const Json &dim : value["shape"]) {
    entry.shape.push_back(number(dim, what + ": a dimension"));
    if (__builtin_mul_overflow(bytes, entry.shape.back(), &bytes))
      fail(what, " has the shape ", value["shape"].dump(), ", which is too large");
  }
  int64_t begin = number(value["data_offsets"][0], what + ": a data offset");
  int64_t end = number(value["data_offsets"][1], what + ": a data offset");
  if (begin > end || end > size - dataBegin)
    fail(what, " has its data at ", begin, " to ", end, " of ", size - dataBegin, " bytes");
  if (end - begin != bytes)
    fail(what, " has ", end - begin, " bytes of data, its shape ", value["shape"].dump(), " of ",
         dtype, " needs ", bytes);
  entry.begin = dataBegin + begin;
  entry.end = dataBegin + end;
  return entry;
}

} // namespace

const char *fileDtypeName(FileDtype dtype) { return rowOf(dtype).name; }
int64_t fileDtypeBytes(FileDtype dtype) { return rowOf(dtype).bytes; }

FileDtype fileDtype(int64_t dtype) {
  switch (static_cast<galvatron_rt_dtype>(dtype)) {
  case GALVATRON_RT_F32:
    return FileDtype::F32;
  case GALVATRON_RT_I64:
    return FileDtype::I64;
  case GALVATRON_RT_I1:
    return FileDtype::Bool;
  }
  __builtin_unreachable();
}

SafeTensorsReader::SafeTensorsReader(const std::string &path) : file(File::openToRead(path)) {
  int64_t size = file.size();
  if (size < 8)
    fail("file '", path, "': not a safetensors file: it has ", size, " bytes");
  unsigned char prefix[8];
  file.readAt(0, prefix, 8);
  uint64_t length = 0;
  for (int i = 7; i >= 0; --i)
    length = length << 8 | prefix[i];
  constexpr uint64_t maxHeader = 100'000'000; // as the format's own library
  if (length > maxHeader || length > uint64_t(size - 8))
    fail("file '", path, "': not a safetensors file, or truncated: its header would have ", length,
         " bytes, the file has ", size);
  std::string text(length, '\0');
  file.readAt(8, &text[0], static_cast<int64_t>(length));
  Json header = parseHeader(text, path);
  int64_t dataBegin = 8 + static_cast<int64_t>(length);
  struct Range {
    int64_t begin, end;
    const std::string *name;
  };
  std::vector<Range> ranges;
  for (const auto &[name, value] : header.items()) {
    if (name == "__metadata__")
      continue;
    Entry entry =
        parseEntry(value, concat("file '", path, "': tensor '", name, "'"), dataBegin, size);
    auto place = table.emplace(name, std::move(entry)).first;
    ranges.push_back({place->second.begin, place->second.end, &place->first});
  }
  std::sort(ranges.begin(), ranges.end(), [](const Range &a, const Range &b) {
    return a.begin != b.begin ? a.begin < b.begin : a.end < b.end;
  });
  int64_t position = dataBegin;
  for (size_t i = 0; i < ranges.size(); ++i) {
    if (ranges[i].begin < position)
      fail("file '", path, "': tensors '", *ranges[i - 1].name, "' and '", *ranges[i].name,
           "' share bytes");
    if (ranges[i].begin > position)
      fail("file '", path, "': ", ranges[i].begin - position, " bytes before tensor '",
           *ranges[i].name, "' belong to no tensor");
    position = ranges[i].end;
  }
  if (position != size)
    fail("file '", path, "': ", size - position, " bytes at its end belong to no tensor");
}

void SafeTensorsReader::read(const Entry &entry, int64_t offset, void *data, int64_t bytes) const {
  file.readAt(entry.begin + offset, data, bytes);
}

} // namespace galvatron_rt
