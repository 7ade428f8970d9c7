#include "cli/pair_link.h"

#include <charconv>
#include <cstdint>
#include <fstream>

#include "node/log.h"
#include "node/log_identity.h"
#include "pki/certificate_facts.h"
#include "pki/pki_folder.h"

namespace ftvmm::cli {

namespace {

Result<std::string> machine_id() {
    constexpr const char* kFile = "/etc/machine-id";
    std::ifstream file(kFile);
    std::string id;
    if (std::getline(file, id) && !id.empty()) return id;
    return fail(std::string("this host has no machine id in ") + kFile,
                "make one with: systemd-machine-id-setup");
}

}  // namespace

Result<ftlink::TlsAddress> address_of(const std::string& text) {
    const auto wrong = [&] {
        return fail("'" + text + "' is no address with a port",
                    "write 192.0.2.1:4242, or [2001:db8::1]:4242");
    };
    const std::size_t colon = text.rfind(':');
    if (colon == std::string::npos || colon == 0) return wrong();
    ftlink::TlsAddress address;
    address.ip = text.substr(0, colon);
    if (address.ip.front() == '[' && address.ip.back() == ']') {
        address.ip = address.ip.substr(1, address.ip.size() - 2);
    } else if (address.ip.find(':') != std::string::npos) {
        return wrong();
    }
    const char* const end = text.data() + text.size();
    const auto read = std::from_chars(text.data() + colon + 1, end, address.port);
    if (read.ec != std::errc() || read.ptr != end || address.port == 0) return wrong();
    return address;
}

Result<ftlink::LinkOptions> link_options_of(const PairLink& link, ftlink::LinkRole role,
                                            const config::VmConfig& config,
                                            const machine::MachineConfig& machine,
                                            const kvm::System& system, const std::string& build) {
    if (link.pki.empty() || link.peers.empty()) {
        return fail("a pair needs --pki and --peer",
                    "give the folder of this host's certificate, and the other host's name");
    }
    ftlink::LinkOptions options;
    FTVMM_ASSIGN(options.address, address_of(link.address));
    FTVMM_ASSIGN(options.identity, pki::load_host_folder(link.pki));
    options.peer_hosts = link.peers;
    options.way = role == ftlink::LinkRole::kPrimary ? ftlink::LinkOptions::Way::kListens
                                                     : ftlink::LinkOptions::Way::kConnects;
    options.hello.build = build;
    FTVMM_ASSIGN(options.hello.cpu_identity, node::cpu_identity_of(system, machine.cpu_model));
    options.hello.vm_uuid = config.uuid.text();
    options.hello.dead_after_ms =
        static_cast<std::uint32_t>(config.ft.value_or(config::FtConfig{}).dead_after.count());
    options.hello.role = role;
    FTVMM_ASSIGN(const auto facts, pki::read_facts(options.identity.host.certificate));
    if (facts.hosts.size() != 1) return fail(link.pki + " is not the folder of one host");
    options.hello.host = facts.hosts.front();
    FTVMM_ASSIGN(options.hello.machine_id, machine_id());
    options.hello.memory_bytes = machine.memory_bytes;
    options.log = [](const std::string& line) { node::log_to_stderr(line); };
    return options;
}

}  // namespace ftvmm::cli
