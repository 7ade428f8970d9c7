#include "pki/pki_folder.h"

#include <fcntl.h>
#include <openssl/err.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <filesystem>

#include "base/fd.h"
#include "pki/certificate_facts.h"
#include "pki/new_folder.h"
#include "pki/openssl.h"

namespace ftvmm::pki {

namespace {

constexpr mode_t kForAll = 0644;
constexpr mode_t kForOwner = 0600;

Result<Credential> load_authority(const std::string& folder) {
    Credential authority;
    const auto certificate = read_pem_file(folder + "/" + kAuthorityFile);
    if (!certificate) {
        return Failure(certificate.error().with_advice(
            "make the cluster's authority first: ftvmm pki init " + folder));
    }
    authority.certificate = *certificate;
    FTVMM_ASSIGN(authority.key, read_pem_file(folder + "/" + kAuthorityKeyFile));
    return authority;
}

}  // namespace

Result<std::string> init_folder(const std::string& folder, const std::string& cluster,
                                Validity validity, Replace replace) {
    FTVMM_ASSIGN(const Credential authority, make_authority(cluster, validity));
    FTVMM_ASSIGN(NewFolder made, NewFolder::beside(folder));
    FTVMM_TRY(made.write(kAuthorityFile, authority.certificate, kForAll));
    FTVMM_TRY(made.write(kAuthorityKeyFile, authority.key, kForOwner));
    FTVMM_TRY(made.make_folder(kHostsFolder));
    if (replace == Replace::kAllowed) return made.publish_over();
    FTVMM_TRY(made.publish());
    return std::string();
}

Result<std::string> issue_in_folder(const std::string& folder, const std::string& host,
                                    Validity validity, Replace replace) {
    FTVMM_ASSIGN(const Credential authority, load_authority(folder));
    const auto issued = issue(authority, host, validity);
    if (!issued) return Failure(issued.error().with_context(folder));
    const std::string place = folder + "/" + kHostsFolder + "/" + host;
    FTVMM_ASSIGN(NewFolder made, NewFolder::beside(place));
    FTVMM_TRY(made.write(kAuthorityFile, authority.certificate, kForAll));
    FTVMM_TRY(made.write(kHostFile, issued->certificate, kForAll));
    FTVMM_TRY(made.write(kHostKeyFile, issued->key, kForOwner));
    if (replace == Replace::kForbidden) {
        FTVMM_TRY(made.publish());
        return place;
    }
    FTVMM_ASSIGN(const std::string old, made.publish_over());
    std::error_code error;
    if (!old.empty()) std::filesystem::remove_all(old, error);
    if (error) return fail("the key before lies in " + old + " still: " + error.message());
    return place;
}

Result<HostIdentity> load_host_folder(const std::string& folder) {
    HostIdentity identity;
    const std::string key_path = folder + "/" + kHostKeyFile;
    FTVMM_ASSIGN(identity.authority, read_pem_file(folder + "/" + kAuthorityFile));
    FTVMM_ASSIGN(identity.host.certificate, read_pem_file(folder + "/" + kHostFile));
    FTVMM_ASSIGN(identity.host.key, read_pem_file(key_path));
    struct stat facts {};
    if (::stat(key_path.c_str(), &facts) != 0) {
        return Failure(Error::from_errno(errno, key_path));
    }
    if ((facts.st_mode & (S_IRWXO)) != 0) {
        return fail(key_path + " is open to every user of this host", "chmod 600 " + key_path);
    }
    FTVMM_ASSIGN(const bool is_ours, is_signed_by(identity.host.certificate, identity.authority));
    if (!is_ours) {
        return fail(folder + ": " + kHostFile + " is of another authority than " + kAuthorityFile,
                    "copy the host's whole folder, as ftvmm pki issue made it");
    }
    FTVMM_ASSIGN(const X509Ptr certificate, read_certificate(identity.host.certificate));
    FTVMM_ASSIGN(const KeyPtr key, read_key(identity.host.key));
    const bool fits = X509_check_private_key(certificate.get(), key.get()) == 1;
    ERR_clear_error();
    if (!fits) {
        return fail(folder + ": " + kHostKeyFile + " is not the key of " + kHostFile,
                    "copy the host's whole folder, as ftvmm pki issue made it");
    }
    return identity;
}

Result<std::string> read_pem_file(const std::string& path) {
    FTVMM_ASSIGN(const Fd fd, Fd::open(path, O_RDONLY));
    std::string text;
    std::array<char, 4096> chunk{};
    while (true) {
        const ssize_t got = ::read(fd.get(), chunk.data(), chunk.size());
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return Failure(Error::from_errno(errno, path));
        if (got == 0) return text;
        text.append(chunk.data(), static_cast<std::size_t>(got));
        if (text.size() > kMaxPemBytes) return fail(path + " is too large for a certificate");
    }
}

}  // namespace ftvmm::pki
