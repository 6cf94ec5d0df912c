'use strict';

// Photos wait here until a request before them is answered.
const AT_ONCE = 3;
const queue = [];
let running = 0;
let version = -1;
let token = sessionStorage.getItem('token') || '';

const by = (id) => document.getElementById(id);

function tell(message) {
  by('message').textContent = message;
  by('message').hidden = !message;
}

async function ask(method, path, body) {
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  const response = await fetch(path, { method, body, headers });
  if (response.status === 403) {
    const text = await response.text();
    const given = text.includes('Bearer') && prompt('Token of this server:');
    if (!given) throw new Error(text);
    token = given;
    sessionStorage.setItem('token', token);
    return ask(method, path, body);
  }
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.error || response.statusText);
  return answer;
}

async function picture(image, path) {
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  const response = await fetch(path, { headers });
  if (response.ok) image.src = URL.createObjectURL(await response.blob());
}

function show(album) {
  by('title').textContent = album.file || 'fewshot';
  document.title = `${album.changed ? '• ' : ''}${album.file || 'fewshot'}`;
  by('summary').textContent = `${album.classes.length} classes. On photos that were left out: ${album.left_out}`;
  by('undo').disabled = !album.can_undo;
  by('save').disabled = !album.changed;
  if (album.version === version) return;
  version = album.version;
  by('names').replaceChildren(...album.classes.map((entry) => new Option(entry.name)));
  by('classes').replaceChildren(...album.classes.map((entry) => {
    const section = document.createElement('section');
    const heading = document.createElement('h3');
    heading.textContent = `${entry.name} (${entry.photos.length})`;
    const list = document.createElement('ul');
    for (const photo of entry.photos) {
      const item = document.createElement('li');
      const button = document.createElement('button');
      button.type = 'button';
      button.title = `Take out ${photo.name}`;
      const image = document.createElement('img');
      image.alt = `Take out ${photo.name}`;
      picture(image, `/api/photos/${photo.id}/thumbnail`);
      button.append(image);
      button.addEventListener('click', () => act('DELETE', `/api/photos/${photo.id}`));
      item.append(button);
      list.append(item);
    }
    section.append(heading, list);
    return section;
  }));
}

async function act(method, path, body) {
  try {
    tell('');
    show(await ask(method, path, body));
    return true;
  } catch (error) {
    tell(error.message);
    return false;
  }
}

function percent(share) {
  return `${Math.round(100 * share)} %`;
}

function fill(item, answer) {
  item.querySelector('.label').textContent = answer.unknown
    ? `unknown (nearest: ${answer.classes[0].class})`
    : `${answer.label}, ${percent(answer.classes[0].probability)}`;
  item.querySelector('.classes').replaceChildren(...answer.classes.slice(1, 3).map((entry) => {
    const line = document.createElement('li');
    line.textContent = `${entry.class}, ${percent(entry.probability)}`;
    return line;
  }));
  const nearest = item.querySelector('.nearest');
  nearest.replaceChildren();
  if (answer.nearest) {
    const image = document.createElement('img');
    image.alt = '';
    picture(image, `/api/photos/${answer.nearest.id}/thumbnail`);
    nearest.append('Most similar: ', image, ` ${answer.nearest.name}`);
  }
  item.querySelector('.class').value = answer.unknown ? '' : answer.label;
}

async function label(file, item) {
  try {
    fill(item, await ask('POST', `/api/predict?name=${encodeURIComponent(file.name)}`, file));
  } catch (error) {
    item.classList.add('failed');
    item.querySelector('.label').textContent = error.message;
  }
}

function next() {
  while (running < AT_ONCE && queue.length) {
    running += 1;
    queue.shift()().finally(() => {
      running -= 1;
      next();
    });
  }
}

function take(files) {
  for (const file of files) {
    const item = by('answer').content.firstElementChild.cloneNode(true);
    const image = item.querySelector('img');
    image.src = URL.createObjectURL(file);
    image.alt = file.name;
    item.querySelector('.name').textContent = file.name;
    item.querySelector('.label').textContent = '…';
    item.querySelector('form').addEventListener('submit', async (event) => {
      event.preventDefault();
      const name = item.querySelector('.class').value;
      const path = `/api/classes/${encodeURIComponent(name)}/photos?name=${encodeURIComponent(file.name)}`;
      if (await act('POST', path, file)) item.remove();
    });
    item.querySelector('.dismiss').addEventListener('click', () => item.remove());
    by('answers').prepend(item);
    queue.push(() => label(file, item));
  }
  next();
}

by('files').addEventListener('change', (event) => {
  take(event.target.files);
  event.target.value = '';
});
by('undo').addEventListener('click', () => act('POST', '/api/undo'));
by('save').addEventListener('click', () => act('POST', '/api/save'));
document.addEventListener('paste', (event) => take(event.clipboardData.files));
for (const kind of ['dragenter', 'dragover', 'dragleave', 'drop']) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    by('drop').classList.toggle('over', kind === 'dragenter' || kind === 'dragover');
    if (kind === 'drop') take(event.dataTransfer.files);
  });
}
window.addEventListener('beforeunload', (event) => {
  if (!by('save').disabled) event.preventDefault();
});
act('GET', '/api/album');
// What another page has changed.
setInterval(() => document.hidden || act('GET', '/api/album'), 5000);
