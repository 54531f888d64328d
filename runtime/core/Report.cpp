// Report.cpp: see Report.h.
#include "core/Report.h"

#include "core/Clock.h"
#include "core/Error.h"
#include "core/File.h"
#include "core/Launch.h"

#include <charconv>
#include <cinttypes>
#include <cmath>
#include <fstream>
#include <unistd.h>

namespace galvatron_rt {
namespace {

template <typename T> std::string shortest(T value) {
  if (!std::isfinite(value))
    return "null";
  char buffer[64];
  auto end = std::to_chars(buffer, buffer + sizeof(buffer), value).ptr;
  return std::string(buffer, end);
}

/// "1:02:03", "2:03" or "3 s".
std::string duration(double seconds) {
  int64_t whole = static_cast<int64_t>(seconds + 0.5);
  char buffer[32];
  if (whole >= 3600)
    std::snprintf(buffer, sizeof(buffer), "%lld:%02d:%02d", static_cast<long long>(whole / 3600),
                  static_cast<int>(whole / 60 % 60), static_cast<int>(whole % 60));
  else if (whole >= 60)
    std::snprintf(buffer, sizeof(buffer), "%d:%02d", static_cast<int>(whole / 60),
                  static_cast<int>(whole % 60));
  else
    std::snprintf(buffer, sizeof(buffer), "%d s", static_cast<int>(whole));
  return buffer;
}

} // namespace

std::string numberText(float value) { return shortest(value); }
std::string numberText(double value) { return shortest(value); }

std::string logLine(const StepReport &report) {
  std::string line = concat("{\"step\": ", report.step);
  if (report.hasLoss)
    line += concat(", \"loss\": ", numberText(report.loss));
  if (report.hasGradNorm)
    line += concat(", \"grad_norm\": ", numberText(report.gradNorm));
  if (report.hasLr)
    line += concat(", \"lr\": ", numberText(report.lr));
  line += concat(", \"step_ms\": ", numberText(report.milliseconds),
                 ", \"tokens_per_s\": ", numberText(report.tokensPerSecond));
  if (report.hasEvalLoss)
    line += concat(", \"eval_loss\": ", numberText(report.evalLoss));
  return line + "}";
}

/// How long the part of a log is that has steps up to `last`; 0 if there is no file.
static int64_t lengthUpTo(const std::string &path, int64_t last) {
  std::ifstream log(path, std::ios::binary);
  int64_t length = 0, step = 0;
  for (std::string line; std::getline(log, line); length += static_cast<int64_t>(line.size()) + 1) {
    bool isWhole = !log.eof(); // a killed program or a full disk may leave half a line at the end
    bool isRow = std::sscanf(line.c_str(), "{\"step\": %" SCNd64 ",", &step) == 1;
    if (isWhole && !isRow)
      fail("--log names '", path, "', which is not the log of a run that could go on");
    if (!isWhole || step > last)
      break;
  }
  return length;
}

Log::Log(const std::string &path, int64_t keptSteps) : path(path) {
  if (path.empty())
    return;
  int64_t kept = keptSteps ? lengthUpTo(path, keptSteps) : 0;
  // Not emptied before it is known what stays.
  file.reset(std::fopen(path.c_str(), kept ? "r+e" : "we"));
  if (!file || (kept && (ftruncate(fileno(file.get()), kept) || std::fseek(file.get(), 0, SEEK_END))))
    fail(systemMessage(path));
}

void Log::write(const StepReport &report) {
  if (!file)
    return;
  std::string line = logLine(report) + "\n";
  if (std::fwrite(line.data(), 1, line.size(), file.get()) != line.size() ||
      std::fflush(file.get()))
    fail(systemMessage(path));
}

Progress::Progress() : terminal(isWatched()) {}
Progress::~Progress() { endLine(); }

void Progress::endLine() {
  if (lineOpen)
    std::fputc('\n', stdout);
  lineOpen = false;
  std::fflush(stdout);
}

void Progress::show(const StepReport &report) {
  double now = secondsNow(), last = report.milliseconds / 1e3;
  // A moving average over about ten steps; the first step is slower (pages, caches) and is
  // forgotten at once.
  secondsPerStep = ++shown <= 2 ? last : 0.9 * secondsPerStep + 0.1 * last;
  bool isLast = report.step == report.steps;
  double interval = terminal ? 0.05 : 1.0;
  bool always = !terminal && report.steps <= 200;
  if (!always && !isLast && shown > 1 && now - lastLine < interval)
    return;
  lastLine = now;
  std::string line = concat("step ", report.step, "/", report.steps);
  char buffer[64];
  auto add = [&](const char *format, double value) {
    std::snprintf(buffer, sizeof(buffer), format, value);
    line += buffer;
  };
  if (report.hasLoss)
    add("  loss %.4f", report.loss);
  if (report.hasEvalLoss)
    add("  eval loss %.4f", report.evalLoss);
  add("  %.0f tokens/s", report.tokensPerSecond);
  if (!isLast)
    line += concat("  ", duration(secondsPerStep * static_cast<double>(report.steps - report.step)),
                   " left");
  if (!terminal) {
    std::printf("%s\n", line.c_str());
    std::fflush(stdout);
    return;
  }
  std::printf("\r%s\033[K", line.c_str());
  lineOpen = true;
  if (isLast || report.hasEvalLoss)
    endLine();
  std::fflush(stdout);
}

} // namespace galvatron_rt
