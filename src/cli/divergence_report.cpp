#include "cli/divergence_report.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <iterator>
#include <utility>

#include "base/fd.h"
#include "cli/log_report.h"
#include "replay/log_file.h"
#include "vmm/machine/checkpoint_codec.h"

namespace ftvmm::cli {

using replay::CpuRegisters;

namespace {

std::optional<CpuRegisters> registers_in(const replay::record::Checkpoint& checkpoint,
                                         std::uint64_t memory_bytes) {
    const auto decoded = machine::decode_checkpoint(checkpoint.state, memory_bytes / kPageBytes);
    if (!decoded) return std::nullopt;
    return machine::registers_of(decoded->cpu.regs, decoded->cpu.sregs);
}

// Takes in a log's records, in order.
class ExcerptReader {
  public:
    ExcerptReader(const replay::Divergence& divergence, std::uint64_t memory_bytes)
        : last_(divergence.seq), where_(divergence.where), memory_bytes_(memory_bytes) {}

    // False: nothing from `record` on tells of that place.
    [[nodiscard]] bool add(replay::Seq seq, replay::Record& record) {
        const bool is_power_on = std::holds_alternative<replay::record::PowerOn>(record.body);
        if (seq > last_ && (is_power_on || record.at > where_)) return false;
        if (seq <= last_ && seq.value() + kRecordsShown >= last_.value()) {
            excerpt_.records.push_back((seq == last_ ? "> " : "  ") + render_text(seq, record));
        }
        if (is_power_on) {
            excerpt_.before.reset();
            excerpt_.exit.reset();
            checkpoint_.reset();
        }
        if (const auto* trace = std::get_if<replay::record::Trace>(&record.body)) {
            add(record.at, trace->exit);
        }
        const bool is_checkpoint = std::holds_alternative<replay::record::Checkpoint>(record.body);
        // What the guest was held against it has not come to.
        if (is_checkpoint && seq < last_) checkpoint_ = std::move(record);
        return true;
    }

    LogExcerpt take() {
        const bool is_newest =
            checkpoint_ && (!excerpt_.before || excerpt_.before->at < checkpoint_->at);
        if (is_newest) {
            const auto& body = std::get<replay::record::Checkpoint>(checkpoint_->body);
            if (const auto values = registers_in(body, memory_bytes_)) {
                excerpt_.before = {checkpoint_->at, *values};
            }
        }
        return std::move(excerpt_);
    }

  private:
    void add(replay::Landmark at, const replay::ExitFacts& exit) {
        if (at == where_) excerpt_.exit = exit;
        if (at < where_) excerpt_.before = {at, exit.registers};
    }

    replay::Seq last_;
    replay::Landmark where_;
    std::uint64_t memory_bytes_;
    LogExcerpt excerpt_;
    std::optional<replay::Record> checkpoint_;
};

void add_registers(std::string& text, const CpuRegisters& values) {
    constexpr std::size_t kInLine = 4;
    const auto out = std::back_inserter(text);
    for (std::size_t i = 0; i < values.size(); ++i) {
        const bool is_last = i % kInLine == kInLine - 1 || i + 1 == values.size();
        fmt::format_to(out, "  {:>7} {:016x}{}", replay::kCpuRegisterNames.at(i), values.at(i),
                       is_last ? "\n" : "");
    }
}

// Both, a register on a line, and what differs marked.
void add_both(std::string& text, const replay::ExitFacts& recorded,
              const std::optional<replay::ExitFacts>& exit, const CpuRegisters& replayed) {
    const auto out = std::back_inserter(text);
    fmt::format_to(out, "  {:>7}  {:<24}  {}\n", "", "recorded", "replayed");
    if (exit) {
        const bool differs = exit->reason != recorded.reason || exit->where != recorded.where ||
                             exit->detail != recorded.detail;
        fmt::format_to(out, "{} {:>7}  {:<24}  {}\n", differs ? '*' : ' ', "exit",
                       replay::describe(recorded), replay::describe(*exit));
    }
    for (std::size_t i = 0; i < replayed.size(); ++i) {
        fmt::format_to(out, "{} {:>7}  {:016x}          {:016x}\n",
                       recorded.registers.at(i) == replayed.at(i) ? ' ' : '*',
                       replay::kCpuRegisterNames.at(i), recorded.registers.at(i), replayed.at(i));
    }
}

void add_processor(std::string& text, const replay::Divergence& divergence,
                   const LogExcerpt& excerpt, const replay::GuestMachine& machine) {
    const auto out = std::back_inserter(text);
    const auto replayed = machine.registers();
    if (replayed && excerpt.exit) {
        fmt::format_to(out, "\nthe processor at {}, * where it differs\n",
                       replay::describe(machine.landmark()));
        const auto exit = machine.last_exit();
        add_both(text, *excerpt.exit, exit, *replayed);
        const bool is_hidden = divergence.kind == replay::DivergenceKind::kDigest && exit &&
                               replay::is_same_exit(*exit, *excerpt.exit);
        if (is_hidden) {
            text += "  by these it is the same exit: what it carried or was answered differs\n";
        }
        return;
    }
    fmt::format_to(out, "\nthe processor of the replayed guest, at {}\n",
                   replay::describe(machine.landmark()));
    if (replayed) {
        add_registers(text, *replayed);
    } else {
        text += "  (it can not be read)\n";
    }
    if (excerpt.before) {
        fmt::format_to(out, "\nas it was recorded, at {}\n", replay::describe(excerpt.before->at));
        add_registers(text, excerpt.before->values);
    } else {
        text += "\nas it was recorded: the log holds no processor's state before this place\n";
    }
}

void add_code(std::string& text, const replay::GuestMachine& machine) {
    text += "\nthe replayed guest's code, > where it stands\n";
    const auto code = machine.code();
    for (const std::string& line : code)
        text += line + "\n";
    if (code.empty()) text += "  (it can not be read)\n";
}

}  // namespace

Result<LogExcerpt> read_excerpt(const std::string& log, const replay::Divergence& divergence) {
    FTVMM_ASSIGN(auto reader, replay::LogReader::open(log));
    ExcerptReader excerpt(divergence, reader.header().memory_bytes);
    while (true) {
        FTVMM_ASSIGN(auto batch, reader.next());
        if (!batch) return excerpt.take();
        replay::Seq seq = batch->first;
        for (replay::Record& record : batch->records) {
            if (!excerpt.add(seq, record)) return excerpt.take();
            seq = seq + 1;
        }
    }
}

std::string render_report(const replay::Divergence& divergence, const LogExcerpt& excerpt,
                          const replay::GuestMachine* machine) {
    std::string text =
        replay::describe(divergence) + "\n" + replay::describe_first_difference(divergence) + "\n";
    text += "\nthe last records of the log, > that which the guest was held against\n";
    for (const std::string& line : excerpt.records)
        text += line;
    if (machine == nullptr) return text;
    add_processor(text, divergence, excerpt, *machine);
    add_code(text, *machine);
    return text;
}

Result<void> write_report(const std::string& file, const std::string& report) {
    const Fd fd(::open(file.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, S_IRUSR | S_IWUSR));
    if (!fd.valid()) return Failure(Error::from_errno(errno, file));
    for (std::string_view rest = report; !rest.empty();) {
        const ssize_t written = ::write(fd.get(), rest.data(), rest.size());
        if (written < 0 && errno == EINTR) continue;
        if (written < 0) return Failure(Error::from_errno(errno, file));
        rest.remove_prefix(static_cast<std::size_t>(written));
    }
    return {};
}

}  // namespace ftvmm::cli
