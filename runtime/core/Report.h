// Report.h: what a run tells: log.jsonl for programs, a progress line for people.
#ifndef GALVATRON_RT_CORE_REPORT_H
#define GALVATRON_RT_CORE_REPORT_H

#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>

namespace galvatron_rt {

struct StepReport {
  int64_t step = 0, steps = 0;
  float loss = 0;
  bool hasLoss = false;
  float gradNorm = 0;
  bool hasGradNorm = false;
  double lr = 0;
  bool hasLr = false;
  double milliseconds = 0, tokensPerSecond = 0;
  double evalLoss = 0;
  bool hasEvalLoss = false;
};

/// The shortest decimal that reads back as the same value; "null" for NaN and infinities.
std::string numberText(float value);
std::string numberText(double value);

/// One line of log.jsonl, without the newline.
std::string logLine(const StepReport &report);

/// A file of one JSON object per line, written line by line.
class Log {
public:
  /// No file if the path is empty. What the file has of steps up to `keptSteps` stays, the rest goes.
  /// Throws an Error if it cannot be created, or holds something else than a log that is to stay.
  explicit Log(const std::string &path, int64_t keptSteps = 0);
  void write(const StepReport &report);

private:
  struct Closer {
    void operator()(FILE *file) const { std::fclose(file); }
  };
  std::string path;
  std::unique_ptr<FILE, Closer> file;
};

/// Progress on standard output: one line that is redrawn on a terminal, lines otherwise (every step
/// of a short run, at most about one a second of a long one).
class Progress {
public:
  Progress();
  ~Progress();
  void show(const StepReport &report);
  /// Leaves the redrawn line, so that other text can follow.
  void endLine();

private:
  bool terminal, lineOpen = false;
  int64_t shown = 0; // steps
  double lastLine = 0, secondsPerStep = 0;
};

} // namespace galvatron_rt

#endif // GALVATRON_RT_CORE_REPORT_H
