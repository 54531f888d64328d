// Error.h: how the runtime reports what went wrong, inside its C++ part.
//
// Everything a user, a file or a machine can cause is thrown as an Error and turned into one line
// on standard error (or into an error string) at the C border. Messages are lower case, say what
// was found and what was wanted, and have no full stop.
#ifndef GALVATRON_RT_CORE_ERROR_H
#define GALVATRON_RT_CORE_ERROR_H

#include <cstddef>
#include <cstdint>
#include <sstream>
#include <stdexcept>
#include <string>

namespace galvatron_rt {

class Error : public std::runtime_error {
public:
  using std::runtime_error::runtime_error;
};

/// Puts the arguments one after the other, as operator<< prints them.
template <typename... Parts> std::string concat(const Parts &...parts) {
  std::ostringstream stream;
  (stream << ... << parts);
  return stream.str();
}

/// Throws an Error whose message is the arguments one after the other.
template <typename... Parts> [[noreturn]] void fail(const Parts &...parts) {
  throw Error(concat(parts...));
}

/// "[2, 3, 4]"
template <typename Range> std::string shapeText(const Range &dims) {
  std::ostringstream stream;
  stream << '[';
  bool first = true;
  for (auto dim : dims) {
    stream << (first ? "" : ", ") << dim;
    first = false;
  }
  stream << ']';
  return stream.str();
}

/// Copies `message` into a caller's buffer, cut to fit, always terminated.
void copyMessage(const std::string &message, char *buffer, size_t size);

/// a * b, or an Error that says `what` is too large. Both must be >= 0.
int64_t checkedMultiply(int64_t a, int64_t b, const char *what);

} // namespace galvatron_rt

#endif // GALVATRON_RT_CORE_ERROR_H
