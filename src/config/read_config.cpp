#include "config/read_config.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <map>

#include "base/fd.h"
#include "config/toml_reader.h"

namespace ftvmm::config {

namespace {

constexpr std::uint64_t kPageBytes = 4096;

// Whatever must occur only once in the file, and where it did.
class Uniques {
  public:
    Uniques(std::string_view what, ProblemLog& log) : what_(what), log_(log) {}

    void add(const std::string& value, Place place) {
        const auto [first, added] = seen_.try_emplace(value, place);
        if (added) return;
        log_.add(place,
                 fmt::format("{} {} is already used in line {}", what_, value, first->second.line),
                 "give each its own");
    }

  private:
    std::string_view what_;
    ProblemLog& log_;
    std::map<std::string, Place> seen_;
};

bool is_interface_name(std::string_view name) {
    // What the kernel's dev_valid_name() takes, less '%', which asks it to choose a number.
    const auto refused = [](char c) { return c == '/' || c == ':' || c == '%' || c == ' '; };
    return name.size() <= kMaxInterfaceName && name != "." && name != ".." &&
           std::ranges::none_of(name, refused);
}

bool is_serial(std::string_view serial) {
    const auto allowed = [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               c == '-' || c == '_' || c == '.';
    };
    return serial.size() <= kMaxSerialLength && std::ranges::all_of(serial, allowed);
}

// Reads one file into one VmConfig, section by section; whatever is wrong goes into the log.
class ConfigReader {
  public:
    ConfigReader(const toml::table& root, const std::string& file, ProblemLog& log)
        : root_(root, "the file", log),
          folder_(std::filesystem::path(file).parent_path()),
          log_(log) {}

    VmConfig read() {
        read_identity();
        read_memory();
        read_cpu();
        read_boot();
        read_disks();
        read_nics();
        read_console();
        read_ft();
        root_.refuse_unknown();
        return std::move(config_);
    }

  private:
    [[nodiscard]] std::string resolved(const std::string& path) const {
        return (folder_ / path).lexically_normal().string();
    }

    void read_identity() {
        if (const auto name = root_.text("name")) {
            config_.name = name->value;
            if (!is_vm_name(name->value)) {
                log_.add(name->place, fmt::format("\"{}\" is no name for a VM", name->value),
                         "use 1 to 63 of the characters a-z, 0-9 and -");
            }
        }
        root_.require("name", "name = \"web1\"");
        if (const auto text = root_.text("uuid")) {
            const auto uuid = Uuid::parse(text->value);
            if (!uuid || uuid->is_nil()) {
                log_.add(text->place, fmt::format("\"{}\" is not a UUID", text->value),
                         "uuidgen prints one");
            }
            config_.uuid = uuid.value_or(Uuid{});
        }
        root_.require("uuid", "uuid = \"...\" with what uuidgen prints");
    }

    void read_memory() {
        const toml::node* node = root_.node("memory");
        root_.require("memory", "memory = \"2 GiB\"");
        if (node == nullptr) return;
        std::optional<std::uint64_t> bytes;
        if (const auto* text = node->as_string()) {
            bytes = parse_size(text->get());
        } else if (const auto* number = node->as_integer()) {
            constexpr std::int64_t kSane = std::int64_t{1} << 40;
            const std::int64_t mib = std::clamp<std::int64_t>(number->get(), 0, kSane);
            bytes = static_cast<std::uint64_t>(mib) << 20;
        }
        const Place place = place_of(node->source());
        if (!bytes) {
            log_.add(place, "memory is not a size",
                     "write it as \"2 GiB\", as \"512 MiB\", or as a whole number of MiB");
        } else if (*bytes < kMinMemoryBytes || *bytes > kMaxMemoryBytes) {
            log_.add(place, "memory is out of range", "give the VM 64 MiB to 64 GiB");
        } else if (*bytes % kPageBytes != 0) {
            log_.add(place, "memory is not a whole number of pages", "use a multiple of 4 KiB");
        }
        config_.memory_bytes = bytes.value_or(0);
    }

    void read_cpu() {
        const toml::table* table = root_.table("cpu");
        if (table == nullptr) return;
        TableReader cpu(*table, "[cpu]", log_);
        if (const auto model = cpu.text("model")) {
            if (model->value == "v3") {
                config_.cpu_model = CpuModel::kV3;
            } else if (model->value != "v2") {
                log_.add(model->place, fmt::format("there is no CPU model \"{}\"", model->value),
                         "use \"v2\", or \"v3\" where every host has AVX2");
            }
        }
        cpu.refuse_unknown();
    }

    void read_boot() {
        if (const auto kernel = root_.text("kernel")) config_.kernel = resolved(kernel->value);
        root_.require("kernel", "kernel = \"vmlinuz\"");
        if (const auto initrd = root_.text("initrd")) config_.initrd = resolved(initrd->value);
        if (const auto cmdline = root_.text("cmdline")) {
            config_.cmdline = cmdline->value;
            if (cmdline->value.size() > kMaxCmdlineLength) {
                log_.add(cmdline->place,
                         fmt::format("cmdline is {} bytes long", cmdline->value.size()),
                         fmt::format("shorten it to {}", kMaxCmdlineLength));
            }
        }
    }

    void read_disks() {
        Uniques paths("disk path", log_);
        Uniques serials("disk serial", log_);
        for (const toml::table* table : root_.tables("disk")) {
            TableReader disk(*table, "[[disk]]", log_);
            DiskConfig read;
            if (const auto path = disk.text("path")) {
                read.path = resolved(path->value);
                paths.add(read.path, path->place);
            }
            disk.require("path", "path = \"web1.img\"");
            if (const auto flag = disk.boolean("read_only")) read.read_only = flag->value;
            if (const auto serial = disk.text("serial")) {
                read.serial = serial->value;
                serials.add(serial->value, serial->place);
                if (!is_serial(serial->value)) {
                    log_.add(serial->place, fmt::format("\"{}\" is no serial", serial->value),
                             "use up to 20 letters, digits, '-', '_' and '.'");
                }
            }
            disk.refuse_unknown();
            config_.disks.push_back(std::move(read));
            if (config_.disks.size() == kMaxDisks + 1) {
                log_.add(disk.place(), fmt::format("more than {} disks", kMaxDisks));
            }
        }
    }

    void read_nics() {
        Uniques macs("mac", log_);
        Uniques taps("tap", log_);
        for (const toml::table* table : root_.tables("nic")) {
            TableReader nic(*table, "[[nic]]", log_);
            NicConfig read;
            if (const auto mac = nic.text("mac")) {
                read.mac = read_mac(*mac);
                macs.add(read.mac.text(), mac->place);
            }
            nic.require("mac", "mac = \"52:54:00:12:34:56\"");
            const auto bridge = interface_of(nic, "bridge");
            const auto tap = interface_of(nic, "tap");
            if (tap) {
                taps.add(tap->value, tap->place);
                read.plug = TapName{tap->value};
            }
            if (bridge) read.plug = BridgeName{bridge->value};
            if (table->contains("bridge") == table->contains("tap")) {
                log_.add(nic.place(),
                         bridge && tap ? "[[nic]] has both a bridge and a tap"
                                       : "[[nic]] has neither a bridge nor a tap",
                         "name one of them: a bridge to get a tap on it, a tap that exists");
            }
            nic.refuse_unknown();
            config_.nics.push_back(std::move(read));
            if (config_.nics.size() == kMaxNics + 1) {
                log_.add(nic.place(), fmt::format("more than {} network cards", kMaxNics));
            }
        }
    }

    MacAddress read_mac(const Placed<std::string>& text) {
        const auto mac = MacAddress::parse(text.value);
        if (!mac || *mac == MacAddress{}) {
            log_.add(text.place, fmt::format("\"{}\" is not a MAC address", text.value),
                     "write it as \"52:54:00:12:34:56\"");
        } else if (mac->is_multicast()) {
            log_.add(text.place, fmt::format("{} is a multicast address", text.value),
                     "a card's own address has an even first byte, such as 52");
        }
        return mac.value_or(MacAddress{});
    }

    std::optional<Placed<std::string>> interface_of(TableReader& nic, std::string_view key) {
        auto name = nic.text(key);
        if (name && !is_interface_name(name->value)) {
            log_.add(name->place, fmt::format("\"{}\" is no name of an interface", name->value),
                     "use up to 15 characters without blanks, '/', ':' and '%'");
        }
        return name;
    }

    void read_console() {
        const toml::table* table = root_.table("console");
        if (table == nullptr) return;
        TableReader console(*table, "[console]", log_);
        if (const auto kind = console.text("kind")) {
            if (kind->value == "virtio") {
                config_.console.kind = ConsoleKind::kVirtio;
            } else if (kind->value != "serial") {
                log_.add(kind->place, fmt::format("there is no console \"{}\"", kind->value),
                         "use \"serial\" or \"virtio\"");
            }
        }
        if (const auto log = console.text("log")) config_.console.log = resolved(log->value);
        console.refuse_unknown();
    }

    void read_ft() {
        const toml::table* table = root_.table("ft");
        if (table == nullptr) return;
        TableReader ft(*table, "[ft]", log_);
        FtConfig& read = config_.ft.emplace();
        if (const auto shared = ft.text("shared")) {
            read.shared =
                absolute(*shared, "write it from / on: it is the same folder on every host");
        }
        if (const auto fence = ft.text("fence")) {
            read.fence = absolute(*fence, "write it from / on: it is a program on every host");
        }
        ft.require("shared", "shared = \"/srv/ftvmm/web1\"");
        read.dead_after =
            time_in(ft, "dead_after_ms", kMinDeadAfter, kMaxDeadAfter, read.dead_after);
        read.lease = time_in(ft, "lease_s", kMinLease, kMaxLease, read.lease);
        read.paths = read_paths(ft);
        ft.refuse_unknown();
    }

    std::string absolute(const Placed<std::string>& text, const char* advice) {
        const std::filesystem::path path(text.value);
        if (!path.is_absolute()) {
            log_.add(text.place, fmt::format("\"{}\" is not an absolute path", text.value), advice);
        }
        return path.lexically_normal().string();
    }

    std::vector<IpNetwork> read_paths(TableReader& ft) {
        Uniques networks("the network", log_);
        std::vector<IpNetwork> paths;
        for (const auto& text : ft.texts("paths")) {
            const auto network = IpNetwork::parse(text.value);
            if (!network) {
                log_.add(text.place, fmt::format("\"{}\" is no network", text.value),
                         "write it as \"10.77.1.0/24\", with zeros behind the prefix");
                continue;
            }
            networks.add(network->text(), text.place);
            paths.push_back(*network);
            if (paths.size() == kMaxPaths + 1) {
                log_.add(text.place, fmt::format("more than {} paths", kMaxPaths));
            }
        }
        return paths;
    }

    // A whole number of `Time`'s unit, or `usual`.
    template <class Time>
    Time time_in(TableReader& table, std::string_view key, Time min, Time max, Time usual) {
        const auto number = table.integer(key);
        if (!number) return usual;
        if (number->value >= min.count() && number->value <= max.count()) {
            return Time(number->value);
        }
        log_.add(number->place, fmt::format("{} is out of range", key),
                 fmt::format("use {} to {}", min.count(), max.count()));
        return usual;
    }

    TableReader root_;
    std::filesystem::path folder_;
    ProblemLog& log_;
    VmConfig config_;
};

Result<std::string> read_text(const std::string& file) {
    FTVMM_ASSIGN(const Fd fd, Fd::open(file, O_RDONLY));
    std::string text(kMaxConfigBytes + 1, '\0');
    std::size_t length = 0;
    while (length < text.size()) {
        const ssize_t got = ::read(fd.get(), text.data() + length, text.size() - length);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return Failure(Error::from_errno(errno, file));
        if (got == 0) break;
        length += static_cast<std::size_t>(got);
    }
    text.resize(length);
    return text;
}

Checked<VmConfig> whole_file_problem(const std::string& file, std::string what,
                                     std::string advice) {
    return tl::unexpected(Problems{Problem{file, 0, 0, std::move(what), std::move(advice)}});
}

}  // namespace

Checked<VmConfig> parse_config(std::string_view text, const std::string& file) {
    ProblemLog log(file);
    try {
        const toml::table root = toml::parse(text);
        VmConfig config = ConfigReader(root, file, log).read();
        if (log.empty()) return config;
    } catch (const toml::parse_error& error) {
        log.add(place_of(error.source()), std::string(error.description()));
    } catch (const std::invalid_argument& error) {
        log.add(Place{}, error.what(), "look for brackets that have no partner");
    }
    return tl::unexpected(log.take());
}

Checked<VmConfig> load_config(const std::string& file) {
    const auto text = read_text(file);
    if (!text) {
        // The error begins with the file's name, as a problem's text does.
        return whole_file_problem(file, text.error().what().substr(file.size() + 2),
                                  text.error().advice());
    }
    if (text->size() > kMaxConfigBytes) {
        return whole_file_problem(file, "this is no vm.toml: it is larger than 256 KiB",
                                  "check the path");
    }
    return parse_config(*text, file);
}

}  // namespace ftvmm::config
